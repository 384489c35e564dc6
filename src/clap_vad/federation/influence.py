"""Bounds on one site's influence on a sum: its message against its first message, and against other sites'.

For replies that the coordinator sees one by one. Under masks it sees none of them, and nothing here applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .ask import Reply, State
from .messages import Message, Schema

__all__ = ["beyond_first", "bounded_shares", "keep_first", "outlying"]

_FIRST = "first."
"""Entries of the coordinator's state begin with it: per unit, each participant's first size, -1 for none."""

_SEVERAL = 3
"""Least number of sites with which one site can be compared with the others."""

_SCALE = "scale of its numbers"
_OUTLYING = (10.0, 100.0)
"""Largest multiple of the median over sites: for norms of updates, for the scale of statistics."""

_TOLERANCE = 1e-6


def beyond_first(schema: Schema, replies: Sequence[Reply], state: State, participants: Sequence[str]) -> dict[str, str]:
    """Replies about more than their sites first reported: participant -> reason."""
    if schema.size is None or (key := _FIRST + schema.size.unit) not in state:
        return {}
    first, unit = state[key], schema.size.unit
    return {
        reply.participant: f"message '{schema.name}' is about {size:.15g} {unit}; at first it was {most:.15g}"
        for reply in replies
        if (most := float(first[participants.index(reply.participant)])) >= 0
        and (size := schema.size.of(reply.message)) > most * (1 + _TOLERANCE)
    }


def keep_first(schema: Schema, replies: Sequence[Reply], state: State, participants: Sequence[str]) -> None:
    """Save each participant's first reported size."""
    if schema.size is None or not schema.size.all:
        return
    key = _FIRST + schema.size.unit
    first = np.array(state.get(key, np.full(len(participants), -1.0)))
    for reply in replies:
        at = participants.index(reply.participant)
        first[at] = schema.size.of(reply.message) if first[at] < 0 else first[at]
    state[key] = first


def bounded_shares(schema: Schema, replies: Sequence[Reply]) -> list[Reply]:
    """The replies, changed so that none weighs more than all others together, if three or more have a weight.

    At most one can weigh more. Its values are then scaled down in proportion; the others stay bit for bit.
    """
    if schema.size is None:
        return list(replies)
    sizes = [schema.size.of(reply.message) for reply in replies]
    if sum(size > 0 for size in sizes) < _SEVERAL:
        return list(replies)
    at = int(np.argmax(sizes))
    others = sum(sizes[:at]) + sum(sizes[at + 1 :])
    if sizes[at] <= others:
        return list(replies)
    smaller = {name: _times(replies[at].message[name], others / sizes[at]) for name in schema.size.entries}
    return [
        replace(reply, message={**reply.message, **smaller}) if number == at else reply
        for number, reply in enumerate(replies)
    ]


def _times(value: np.ndarray | int | float, factor: float) -> np.ndarray:
    """A value times a factor, in its own type; whole numbers are rounded."""
    known = np.asarray(value)
    product = known.astype(np.float64) * factor
    return np.asarray((np.rint(product) if known.dtype.kind == "i" else product).astype(known.dtype))


def outlying(schema: Schema, replies: Sequence[Reply]) -> dict[str, str]:
    """Replies with far larger numbers than the others': participant -> reason.

    Values are compared with the median over all sites that have data, if these are three or more. For updates: the
    norms, separately for each kind of numbers in a message (update, control variate). For statistics: the root mean
    square of every number; it is also compared with the site's other numbers. The comparison is repeated without the
    outliers found, until there are none.
    """
    if not (schema.mean or schema.scale):
        return {}
    there = {r.participant: r.message for r in replies if schema.size is None or schema.size.of(r.message) > 0}
    measured = {name: _measured(schema, message) for name, message in there.items()}
    found: dict[str, str] = {}
    while len(measured) >= _SEVERAL:
        new: dict[str, str] = {}
        for kind in next(iter(measured.values())):
            values = np.array([own[kind] for own in measured.values()])
            usual = np.median(values, axis=0)
            if kind == _SCALE:
                usual = np.maximum(usual, np.median(np.sqrt(np.mean(np.square(values), axis=1))))
            most = np.where(usual > 0, usual * _OUTLYING[kind == _SCALE], np.inf)
            for name, own in zip(measured, values, strict=True):
                if (own > most).any():
                    times = float((own / np.where(usual > 0, usual, np.inf)).max())
                    why = f"the {kind} is {times:.3g} times the median over sites"
                    new.setdefault(name, f"message '{schema.name}': {why}")
        if not new:
            break
        found |= new
        measured = {name: own for name, own in measured.items() if name not in new}
    return found


def _measured(schema: Schema, message: Message) -> dict[str, np.ndarray]:
    """Kind of numbers -> how large they are."""
    if schema.scale is not None:
        return {_SCALE: np.atleast_1d(schema.scale(message))}
    kinds = dict.fromkeys(name.split(".")[0] for name in schema.fields if "." in name)
    return {f"norm of its {kind}": np.array([_norm(message, kind)]) for kind in kinds}


def _norm(message: Message, kind: str) -> float:
    parts = [np.asarray(value, np.float64) for name, value in message.items() if name.split(".")[0] == kind]
    return float(np.sqrt(sum(float(np.square(part).sum()) for part in parts)))
