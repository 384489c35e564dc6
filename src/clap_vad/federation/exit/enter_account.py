"""Stage: the reply is entered in the site's account of all runs, or refused there."""

from __future__ import annotations

from ..run_account import RunAccount
from .passage import Passage

__all__ = ["EnterAccount"]


class EnterAccount:
    """Enters what is about to leave; what would exceed a bound of the site's policy is refused.

    Args:
        account: of the run.
        private: whether the run promises differential privacy. A step that is done in silence then counts as its answer
            would: what it draws shows in what is answered later.
    """

    def __init__(self, account: RunAccount, private: bool = False) -> None:
        self._account, self._private = account, private

    def __call__(self, passage: Passage) -> Passage:
        silent = passage.ask.silent and self._private
        self._account.enter(passage.ask, passage.declared if silent else passage.schema, passage.sha256)
        return passage
