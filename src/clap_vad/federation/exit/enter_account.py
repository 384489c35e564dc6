"""Stage: the reply is entered in the site's account of all runs, or refused."""

from __future__ import annotations

from ..run_account import RunAccount
from .passage import Passage

__all__ = ["EnterAccount"]


class EnterAccount:
    """Enters replies that are about to leave; refuses those that would exceed a bound of the site's policy.

    Args:
        account: of the run.
        private: whether the run uses differential privacy. A silent step then counts like its answer: later answers
            depend on its draws.
    """

    def __init__(self, account: RunAccount, private: bool = False) -> None:
        self._account, self._private = account, private

    def __call__(self, passage: Passage) -> Passage:
        silent = passage.ask.silent and self._private
        self._account.enter(passage.ask, passage.declared if silent else passage.schema, passage.sha256)
        return passage
