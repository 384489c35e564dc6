"""Names of the entries that FLARE carries: only strings and bytes, so its deserialiser creates none of our objects."""

from __future__ import annotations

__all__ = ["FAILED", "IMPOSSIBLE", "OUTCOME", "PAYLOAD", "QUESTION", "REFUSED", "REPLIED", "RUN", "TASK", "WHY"]

TASK = "ask"

# Entries of a question and of a reply.
RUN, QUESTION, PAYLOAD = "run", "question", "payload"
OUTCOME, WHY = "outcome", "why"

# Values of OUTCOME.
REPLIED, REFUSED, FAILED, IMPOSSIBLE = "replied", "refused", "failed", "impossible"
