"""Recovery of features: what first-layer updates of a run give away, beside chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..algorithms.rounds import normaliser_of
from ..algorithms.site_data import site_data
from ..audit.recovery import ERRORS, Recovered, candidates, chance_rows, distinct_rows, own_rows, recovered
from ..core.randomness import keyed_generator
from ..detector.source import SegmentSource
from ..federation.secure import layout_of
from .configuration import Opened
from .privacy_replay import Observed, Seen

__all__ = ["recovery"]

_FIRST_LAYER = ("layer1.weight", "layer1.bias")
_MOST_SEGMENTS = 4096  # of a participant that are compared; more are drawn from
_MOST_VALUES = 1 << 26  # floats of all participants' segments that are held at once


def recovery(opened: Opened, observed: Observed) -> dict[str, Any]:
    """What first-layer updates give away, beside chance."""
    targets = own_rows({name: _targets(opened, observed, name) for name in opened.participants})
    sent = _updates_by_sender(observed)
    seed = opened.plan.seed
    rows: list[dict[str, Any]] = []
    for name, own in targets.items():
        of_it = [_found(opened, seen) for sender, seen in sent.items() if name in sender.split(", ")]
        of_it += _found_under_masks(observed, name)
        found = np.concatenate([own[:0], *of_it])  # nobody may have asked it in these rounds
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
        f"{close} of {total['attacked']['targets']} distinct training vectors came back within 5 % from first-layer "
        f"updates, {total['attacked']['within_25']} within 25 %; rows that know no segment hit {chance}, real segments "
        f"of other participants {total['chance_other_participants']['within_5']}."
    )
    return {"senders": len(sent), "total": total, "participants": rows, "meaning": meaning}


_COUNTED = ("candidates", "targets", *(f"within_{100 * e:.0f}" for e in ERRORS))


def _counts(result: Recovered) -> dict[str, Any]:
    within = {f"within_{100 * error:.0f}": count for error, count in result.within.items()}
    return {"candidates": result.candidates, "targets": result.targets, **within, "best": result.best}


def _targets(opened: Opened, observed: Observed, participant: str) -> np.ndarray:
    """The participant's training segments as its network sees them, (m, D); the attacker knows the normaliser."""
    data = site_data(opened.dataset, participant, opened.participants[participant], opened.labelled)
    source = SegmentSource(data.store, data.entries, normaliser_of(observed.state))
    segments = source.present()
    rng = keyed_generator(opened.plan.seed, 0, participant, "audit segments")
    room = _MOST_VALUES // (len(opened.participants) * source.crops * source.dim)
    chosen = np.sort(rng.permutation(segments)[: min(_MOST_SEGMENTS, max(1, room))])
    x = torch.empty(len(chosen), source.crops, source.dim)
    share = source.gather(chosen, x)
    return distinct_rows(x.numpy(), share)


def _updates_by_sender(observed: Observed) -> dict[str, list[Seen]]:
    """Rounds by whom an update came from: a participant, or the participants of a sum."""
    found: dict[str, list[Seen]] = {}
    for seen in observed.of("train"):
        for reply in seen.replies:
            found.setdefault(reply.participant, []).append(Seen(seen.ask, [reply]))
    return found


def _found(opened: Opened, rounds: list[Seen]) -> np.ndarray:
    """Candidates from one sender's updates."""
    updates, decay = [], []
    for seen in rounds:
        message = seen.replies[0].message
        updates.append({name: np.asarray(message[f"update.{name}"]) for name in _FIRST_LAYER})
        weight = np.asarray(seen.ask.payload["weights.layer1.weight"], np.float64)
        decay.append(weight * (_shrinkage(opened, int(message["count"]) // len(seen.members)) - 1))
    return candidates(updates, decay)


def _found_under_masks(observed: Observed, participant: str) -> list[np.ndarray]:
    """Candidates from the participant's masked vectors, read as if no mask were on them."""
    updates = []
    for seen in observed.wire:
        secure = seen.ask.secure
        if secure is None or secure.phase != "mask" or seen.ask.step != "train":
            continue
        layout = layout_of(secure.schema, observed.plan.dim, len(secure.participants))
        for reply in seen.replies:
            if reply.participant == participant:
                read = layout.decode(np.asarray(reply.message["narrow"]), np.asarray(reply.message["wide"]))
                updates.append({name: np.asarray(read[f"update.{name}"]) for name in _FIRST_LAYER})
    return [candidates(updates)] if updates else []


def _shrinkage(opened: Opened, segments: int) -> float:
    """What weight decay alone leaves of a weight after a round of a participant with so many segments."""
    sgd = opened.method.sgd()
    visited = max(1, round(sgd.epoch_share * segments))
    size = min(sgd.batch_size, max(8, visited // sgd.min_steps) if sgd.min_steps else sgd.batch_size, visited)
    steps = -(-visited // max(size, 1)) * len(sgd.lr)
    return float((1 - sgd.lr[0] * sgd.weight_decay / (1 - sgd.momentum)) ** steps)
