"""Recovery of features from the first layers in a run's messages, compared with chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..algorithms.rounds import normaliser_of
from ..algorithms.sgd_method import SgdMethod
from ..algorithms.site import DetectorSite
from ..algorithms.site_data import site_data
from ..core.statistics.randomness import keyed_generator
from ..detector.source import SegmentSource
from ..detector.training import SgdSettings, steps_per_epoch
from ..federation.encoding import decoded
from ..federation.messages import Message, schema
from ..federation.secure import layout_of
from ..workflows.opening import Opened
from .attacks.recovery import (
    ERRORS,
    FLOOR,
    Change,
    Recovered,
    candidates,
    chance_rows,
    distinct_rows,
    first_layers,
    own_rows,
    recovered,
    rmsprop_gradient,
)
from .replay import Observed, Seen

__all__ = ["recovery"]

_MOST_SEGMENTS = 4096  # compared per participant; of more, a random sample
_MOST_VALUES = 1 << 26  # floats of all participants' segments in memory


def recovery(opened: Opened, observed: Observed) -> dict[str, Any]:
    """Recover training features from first-layer updates, and compare with chance."""
    targets = own_rows({name: _targets(opened, observed, name) for name in opened.participants})
    sent = _sent(observed)
    seed = opened.plan.spec.seed
    rows: list[dict[str, Any]] = []
    for name, own in targets.items():
        of_it = [rows for (_, who), seen in sent.items() if name in who.split(", ") for rows in _found(opened, seen)]
        of_it += _found_under_masks(observed, name)
        found = np.concatenate([own[:0], *of_it])  # it may not have been asked in these rounds
        others = np.concatenate([own[:0], *(theirs for other, theirs in targets.items() if other != name)])
        drawn = keyed_generator(seed, 0, name, "audit others").permutation(len(others))[: len(found)]
        rows.append(
            {
                "participant": name,
                "attacked": _counts(recovered(found, own)),
                "chance_gaussian": _counts(recovered(chance_rows(own, len(found), seed), own)),
                "chance_other_participants": _counts(recovered(others[drawn], own)),
            }
        )
    kinds = ("attacked", "chance_gaussian", "chance_other_participants")
    total = {kind: {key: sum(row[kind][key] for row in rows) for key in _COUNTED} for kind in kinds}
    close, chance = total["attacked"]["within_5"], total["chance_gaussian"]["within_5"]
    meaning = (
        f"{close} of {total['attacked']['targets']} distinct training vectors were recovered within 5 % from "
        f"first-layer updates, {total['attacked']['within_25']} within 25 %; random rows hit {chance}, segments of "
        f"other participants {total['chance_other_participants']['within_5']}."
    )
    return {"senders": len({who for _, who in sent}), "total": total, "participants": rows, "meaning": meaning}


_COUNTED = ("candidates", "targets", *(f"within_{100 * e:.0f}" for e in ERRORS))


def _counts(result: Recovered) -> dict[str, Any]:
    within = {f"within_{100 * error:.0f}": count for error, count in result.within.items()}
    return {"candidates": result.candidates, "targets": result.targets, **within, "best": result.best}


def _targets(opened: Opened, observed: Observed, participant: str) -> np.ndarray:
    """The participant's training segments as the input of its network, (m, D); the attacker knows the normaliser."""
    data = site_data(opened.dataset, participant, opened.participants[participant], opened.labelled)
    source = SegmentSource(data.store, data.entries, normaliser_of(observed.state))
    segments = source.present()
    rng = keyed_generator(opened.plan.spec.seed, 0, participant, "audit segments")
    room = _MOST_VALUES // (len(opened.participants) * source.crops * source.dim)
    chosen = np.sort(rng.permutation(segments)[: min(_MOST_SEGMENTS, max(1, room))])
    x = torch.empty(len(chosen), source.crops, source.dim)
    share = source.gather(chosen, x)
    return distinct_rows(x.numpy(), share)


def _sent(observed: Observed) -> dict[tuple[str, str], list[Seen]]:
    """Questions whose answers contain a first layer, by step and sender: one participant, or those of a sum."""
    found: dict[tuple[str, str], list[Seen]] = {}
    for seen in observed.read:
        for reply in seen.replies:
            if first_layers(reply.message):
                found.setdefault((seen.ask.step, reply.participant), []).append(Seen(seen.ask, [reply]))
    return found


def _found(opened: Opened, rounds: list[Seen]) -> list[np.ndarray]:
    """Candidates from one sender's answers to one step, layer by layer."""
    found = []
    for layer in first_layers(rounds[0].replies[0].message):
        kind, _, name = layer.partition(".")
        sent = [_change(seen.replies[0].message, layer) for seen in rounds]
        if kind == "control":
            # Each message is the change since the previous round: their sum is the mean gradient of the last round.
            decay = _sgd(opened).sgd().weight_decay
            sent = [_minus(*each, decay) for each in zip(_running_sums(sent), _began(rounds, name), strict=True)]
        elif kind == "update":
            sent = [_undone(opened, *each) for each in zip(rounds, sent, _began(rounds, name), strict=True)]
        # Only float32 differences of weights have a rounding error that does not shrink with them.
        found.append(candidates(sent, FLOOR if kind == "update" and opened.method.trains_by_sgd else 0.0))
    return found


def _began(rounds: list[Seen], name: str) -> list[Change]:
    """The layer as sent by each round's question."""
    return [_change(seen.ask.payload, f"weights.{name}") for seen in rounds]


def _change(message: Message, layer: str) -> Change:
    weight, bias = (np.asarray(message[f"{layer}.{part}"], np.float64) for part in ("weight", "bias"))
    return weight, bias


def _minus(change: Change, weights: Change, times: float) -> Change:
    return change[0] - times * weights[0], change[1] - times * weights[1]


def _running_sums(changes: list[Change]) -> list[Change]:
    weights, biases = (np.cumsum(np.stack(parts), axis=0) for parts in zip(*changes, strict=True))
    return list(zip(weights, biases, strict=True))


def _undone(opened: Opened, seen: Seen, update: Change, began: Change) -> Change:
    """An update with its known parts undone: weight decay, and RMSprop's division if it took a single step."""
    sgd = _schedule(opened, seen)
    steps = steps_per_epoch(sgd, int(seen.replies[0].message["count"]) // len(seen.members))
    if opened.method.trains_by_sgd:
        kept = np.prod([(1 - lr * sgd.weight_decay / (1 - sgd.momentum)) ** steps for lr in sgd.lr])
        return _minus(update, began, float(kept) - 1)
    if steps * len(sgd.lr) > 1 or len(seen.members) > 1:
        return update
    weight, bias = (rmsprop_gradient(part, sgd.lr[0]) for part in update)
    return _minus((weight, bias), began, sgd.weight_decay)


def _schedule(opened: Opened, seen: Seen) -> SgdSettings:
    """Optimiser settings of a round, which the coordinator knows too."""
    if "round" not in seen.ask.payload:
        return _sgd(opened).sgd()
    site = opened.federation(Path(), opened.participants).program(seen.members[0])
    assert isinstance(site, DetectorSite)  # its method trains
    return site.schedule(int(seen.ask.payload["round"]))


def _sgd(opened: Opened) -> SgdMethod:
    """The method; one that sends a first layer trains by gradient descent."""
    assert isinstance(opened.method, SgdMethod)
    return opened.method


def _found_under_masks(observed: Observed, participant: str) -> list[np.ndarray]:
    """Candidates from the participant's masked vectors, decoded as if they were not masked."""
    read: dict[str, list[Message]] = {}
    for seen in observed.wire:
        secure = seen.ask.secure
        if secure is None or secure.phase != "mask" or not first_layers(schema(secure.schema).fields):
            continue
        layout = layout_of(secure.schema, observed.plan.dim, len(secure.participants))
        for reply in seen.replies:
            if reply.participant == participant:
                vectors = (np.asarray(reply.message[name]) for name in ("narrow", "wide"))
                words = decoded(layout.decode(*vectors), seen.ask.payload)
                read.setdefault(secure.schema, []).append(words)
    return [
        candidates([_change(message, layer) for message in messages])
        for messages in read.values()
        for layer in first_layers(messages[0])
    ]
