"""Stage: check of the policy's bounds over all runs, as far as possible before the reply is made."""

from __future__ import annotations

from ..run_account import RunAccount
from .passage import Passage

__all__ = ["CheckAccount"]


class CheckAccount:
    """Refuses a question whose answer would exceed a bound, before any work is done on it."""

    def __init__(self, account: RunAccount) -> None:
        self._account = account

    def __call__(self, passage: Passage) -> Passage:
        self._account.check_question(passage.ask, passage.schema)
        return passage
