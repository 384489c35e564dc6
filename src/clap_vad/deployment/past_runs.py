"""What a site's runs answered before there was an account: from their ledgers and the terms they were agreed on."""

from __future__ import annotations

import json
from pathlib import Path

from ..core.accounting import Terms
from ..errors import ClapError
from ..federation.account import Answer
from ..federation.checkpoint import SiteState
from ..federation.messages import schemas
from ..federation.run_account import noised

__all__ = ["past_answers"]

_LAST = 99_999_999  # the highest number that a question can have


def past_answers(runs: Path) -> list[Answer]:
    """The answers that depend on videos in all ledgers ``runs/ID/ledger.jsonl``, oldest first.

    One with noise of which the run's folder no longer says how much counts as one without.
    """
    declared, found = {schema.name: schema for schema in schemas()}, []
    for ledger in sorted(runs.glob("*/ledger.jsonl")):
        terms = _terms(ledger.parent / "state")
        for text in ledger.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                line = json.loads(text)
                names = [str(line[name]) for name in ("time", "step", "schema", "sha256", "protection")]
            except (ValueError, KeyError, TypeError):
                continue  # torn by a kill: it never left
            time, step, name, answer, protection = names
            schema = declared.get(name)
            if schema is not None and schema.bare:
                continue
            made = Answer(time, ledger.parent.name, step, name, "", "", answer)
            known = schema is not None and terms is not None and "noised" in protection
            found.append(noised(made, terms, schema.noised) if known and terms and schema else made)
    return sorted(found, key=lambda answer: answer.time)


def _terms(state: Path) -> Terms | None:
    """What the run was agreed on; None for no differential privacy, and where that is not known any more."""
    try:
        agreement = SiteState(state).before(_LAST).get("agreement")
        privacy = json.loads(agreement.tobytes())["privacy"] if agreement is not None else {}
        return Terms(**privacy) if privacy else None
    except (ClapError, ValueError, KeyError, TypeError):
        return None
