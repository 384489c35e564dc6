"""Sites that are left out of a run, and why: in the coordinator's state, so it survives a kill."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

from .ask import State

__all__ = ["leave_out", "left_out"]

_ENTRY = "left_out"


def left_out(state: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Participants left out of the rest of the run -> reason, in the order of exclusion."""
    if _ENTRY not in state:
        return {}
    return {str(name): str(why) for name, why in json.loads(state[_ENTRY].tobytes()).items()}


def leave_out(state: State, found: Mapping[str, str]) -> None:
    """Leave these out too; a participant that is left out already keeps its first reason.

    >>> state = {}
    >>> leave_out(state, {"a": "one"}); leave_out(state, {"a": "two", "b": "three"}); left_out(state)
    {'a': 'one', 'b': 'three'}
    """
    if found:
        known = left_out(state)
        text = json.dumps(known | {name: why for name, why in found.items() if name not in known})
        state[_ENTRY] = np.frombuffer(text.encode(), np.uint8)
