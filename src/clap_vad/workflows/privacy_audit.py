"""``clap privacy audit``: attacks on runs from what their coordinators saw, judged by somebody who has the data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..algorithms.rounds import global_weights, normaliser_of
from ..algorithms.site_data import site_data
from ..audit.isolation import difference_of_means, difference_of_sums, relative_error, smallest_differences
from ..audit.membership import SIGNALS, auc_interval, video_signals
from ..audit.recovery import ERRORS, Recovered, candidates, chance_rows, distinct_rows, own_rows, recovered
from ..core.moments import Normaliser
from ..core.randomness import keyed_generator
from ..datasets.dataset import Dataset
from ..detector.model import Model
from ..detector.network import detector_weights
from ..detector.scoring import score_videos
from ..detector.source import SegmentSource
from ..errors import ClapError
from ..federation.encoding import decoded
from ..federation.messages import Message
from ..federation.secure import layout_of
from ..protection.session import LEAST_COHORT
from .configuration import Opened, RunConfig
from .privacy_replay import Observed, Seen, replay

__all__ = ["privacy_audit"]

_FIRST_LAYER = ("layer1.weight", "layer1.bias")
_MOST_SEGMENTS = 4096  # of a participant that are compared; more are drawn from
_MOST_VALUES = 1 << 26  # floats of all participants' segments that are held at once


def privacy_audit(runs: Sequence[Path], rounds: int = 3) -> dict[str, Any]:
    """Replay the first rounds of in-process collaborative runs, finished or not, and attack what the coordinator saw.

    Nothing is written to the runs, and sites are told nothing.

    Args:
        runs: run folders.
        rounds: to replay at most.

    Returns:
        A JSON-able dict: ``runs``, each with what was ``seen`` and the figures of ``recovery``, ``isolation`` and
        ``membership``, each of which says in ``meaning`` what they mean.

    Raises:
        ClapError: no run, one of another setting or over real sites, or a dataset that has changed since.
    """
    if not runs:
        raise ClapError("no run to audit; give at least one run folder")
    if rounds < 1:
        raise ClapError(f"--rounds is {rounds}; at least 1 is needed")
    for run in runs:  # all of them before the first is replayed
        _check(run, RunConfig.read(run))
    return {"runs": [_audit(run, rounds) for run in runs]}


def _check(run: Path, config: RunConfig) -> None:
    if config.setting != "collaborative":
        raise ClapError(f"{run}: setting '{config.setting}' has no coordinator that sees anything; audit collaborative")
    if config.engine != "inprocess":
        raise ClapError(f"{run}: a run over real sites cannot be replayed here; its data are not in one place")


def _audit(run: Path, rounds: int) -> dict[str, Any]:
    config = RunConfig.read(run)
    opened = config.open()
    with tempfile.TemporaryDirectory(prefix="clap-audit-") as scratch:
        observed = replay(opened, Path(scratch) / "run", rounds)
        isolation = _isolation(opened, observed, Path(scratch))
    return {
        "run": str(run),
        "method": config.method,
        "strategy": config.strategy,
        "secure_aggregation": config.secure_aggregation,
        "update_encoding": config.update_encoding,
        "participants": len(opened.participants),
        "rounds": observed.plan.rounds,
        "seen": _seen(observed),
        "recovery": _recovery(opened, observed),
        "isolation": isolation,
        "membership": _membership(run, opened, observed),
    }


def _seen(observed: Observed) -> dict[str, Any]:
    alone = sum(len(seen.members) == len(seen.replies) for seen in observed.read)
    return {
        "messages": observed.messages,
        "bytes": observed.bytes,
        "questions": len(observed.read),
        "questions_answered_one_by_one": alone,
    }


# Recovery of features.


def _recovery(opened: Opened, observed: Observed) -> dict[str, Any]:
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
                words = layout.decode(np.asarray(reply.message["narrow"]), np.asarray(reply.message["wide"]))
                read = decoded(words, seen.ask.payload)
                updates.append({name: np.asarray(read[f"update.{name}"]) for name in _FIRST_LAYER})
    return [candidates(updates)] if updates else []


def _shrinkage(opened: Opened, segments: int) -> float:
    """What weight decay alone leaves of a weight after a round of a participant with so many segments."""
    sgd = opened.method.sgd()
    visited = max(1, round(sgd.epoch_share * segments))
    size = min(sgd.batch_size, max(8, visited // sgd.min_steps) if sgd.min_steps else sgd.batch_size, visited)
    steps = -(-visited // max(size, 1)) * len(sgd.lr)
    return float((1 - sgd.lr[0] * sgd.weight_decay / (1 - sgd.momentum)) ** steps)


# Isolation of one participant.


def _isolation(opened: Opened, observed: Observed, scratch: Path) -> dict[str, Any]:
    """The smallest participant's own contribution, as it came or from two cohorts that differ by it."""
    name = min(opened.participants, key=lambda each: len(opened.participants[each]))
    videos = len(opened.participants[name])
    sums = [seen for seen in observed.read if len(seen.members) > len(seen.replies)]
    cohorts, apart = smallest_differences([seen.members for seen in sums])
    result: dict[str, Any] = {
        "participant": name,
        "videos": videos,
        "cohorts": cohorts,
        "least_difference": apart,
        "feature_moments_error": None,
        "feature_mean_error": None,
        "update_error": None,
    }
    if not observed.plan.secure:
        return result | _alone(observed, name, videos)
    within = (
        "All sums of the run are over one and the same cohort: within it there is nothing to difference. "
        if apart is None
        else f"Sums of the run are over {cohorts} cohorts, of which two differ by {apart} participants. "
    )
    if len(opened.participants) - 1 < LEAST_COHORT:
        return result | {"meaning": within + f"Without '{name}' fewer than {LEAST_COHORT} remain, so no second sum."}
    # It may also ask everybody where the run has drawn some.
    full = observed if observed.plan.fraction == 1 else replay(opened, scratch / "full", 1, everybody=True)
    alone = replay(opened, scratch / "alone", 1, secure=False, everybody=True)
    without = replay(opened, scratch / "without", 1, without=name, everybody=True)
    # A coordinator may give the second cohort what the first one had, so that the others' updates stay as they were.
    names = {"normaliser.mean", "normaliser.scale"}
    known = {key: value for key, value in observed.state.items() if key in names}
    again = replay(opened, scratch / "again", 1, without=name, known=known, everybody=True)
    result |= _differenced(full, without, again, alone, name)
    told = [
        f"its {what} within {result[key]:.2g}"
        for key, what in (("feature_moments_error", "feature sums"), ("update_error", "update"))
        if result[key] is not None
    ]
    return result | {
        "meaning": f"{within}A second run without '{name}' ({videos} videos), which a coordinator can bring about, "
        f"would give {' and '.join(told) or 'nothing'} (relative error)." + _one_video(videos)
    }


def _one_video(videos: int) -> str:
    return " Its feature mean is that of its one video." if videos == 1 else ""


def _alone(observed: Observed, name: str, videos: int) -> dict[str, Any]:
    own = {step: _own(observed, step, name) is not None for step in ("moments", "train")}
    return {
        "feature_moments_error": 0.0 if own["moments"] else None,
        "feature_mean_error": 0.0 if own["moments"] else None,
        "update_error": 0.0 if own["train"] else None,
        "meaning": f"Nothing has to be differenced: every message of '{name}' ({videos} videos) came by itself."
        + _one_video(videos),
    }


def _differenced(full: Observed, without: Observed, again: Observed, alone: Observed, name: str) -> dict[str, Any]:
    """Errors of what two sums tell of the participant, against what it really sent.

    Args:
        full: the run.
        without: the run without the participant.
        again: the same, with the normalisation of the whole run.
        alone: the whole run without masks.
        name: the participant.
    """
    result: dict[str, Any] = {}
    pair, own = _pair(full, without, "moments", name), _own(alone, "moments", name)
    if pair is not None and own is not None:
        found = difference_of_sums(*({k: np.asarray(v) for k, v in each.items()} for each in pair))
        truth = {key: np.asarray(value, np.float64) for key, value in own.items()}
        mean, true = found["sum"] / found["count"], truth["sum"] / truth["count"]
        result["feature_moments_error"] = relative_error(found, truth)
        result["feature_mean_error"] = relative_error({"mean": mean}, {"mean": true})
    pair, own = _pair(full, again, "train", name), _own(alone, "train", name)
    if pair is not None and own is not None:
        counts = (int(pair[0]["count"]), int(pair[1]["count"]))
        found = difference_of_means(_update(pair[0]), _update(pair[1]), counts)
        result["update_error"] = relative_error(found, _update(own))
    return result


def _pair(full: Observed, without: Observed, step: str, name: str) -> tuple[Message, Message] | None:
    """First sums of a step over two cohorts that differ by the participant alone."""
    for more, fewer in zip(full.of(step)[:1], without.of(step)[:1], strict=False):
        if set(more.members) - set(fewer.members) == {name} and set(fewer.members) <= set(more.members):
            return more.replies[0].message, fewer.replies[0].message
    return None


def _own(observed: Observed, step: str, name: str) -> Message | None:
    replies = [reply for seen in observed.of(step)[:1] for reply in seen.replies]
    return next((reply.message for reply in replies if reply.participant == name), None)


def _update(message: Message) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in message.items() if key.startswith("update.")}


# Membership.


def _membership(run: Path, opened: Opened, observed: Observed) -> dict[str, Any]:
    """How well the released model tells videos it was trained on from others."""
    weights, normaliser, finished = _released(run, observed)
    dataset = opened.dataset
    known = [video for video in dataset.train_videos if dataset.videos[video].label != 1]
    others = [video for video in dataset.test_videos if _normal(dataset, video)]
    normal_only = bool(others)
    others = others or list(dataset.test_videos)
    result: dict[str, Any] = {
        "finished_model": finished,
        "members": len(known),
        "others": len(others),
        "others_normal_only": normal_only,
    }
    if not known or not others:
        return result | dict.fromkeys(SIGNALS) | {"meaning": "No videos to compare: the attack was not mounted."}
    told = [
        video_signals(_scores(dataset, videos, weights, normaliser, opened.plan.threads)) for videos in (known, others)
    ]
    areas = {signal: auc_interval(told[0][signal], told[1][signal], opened.plan.seed) for signal in SIGNALS}
    result |= {signal: dict(zip(("auc", "low", "high"), interval, strict=True)) for signal, interval in areas.items()}
    apart = [interval for interval in areas.values() if interval[1] > 0.5]
    meaning = (
        "Training videos can be told from others better than by a coin."
        if apart
        else "These two signals do not tell training videos from others; that proves nothing about better attacks."
    )
    return result | {"meaning": meaning + " Secure aggregation does not change the released model."}


def _released(run: Path, observed: Observed) -> tuple[dict[str, np.ndarray], Normaliser | None, bool]:
    """The model that receivers have: the run's own, or, where it is unfinished, that of the last replayed round."""
    if (run / "model.json").exists():
        model = Model.load(run)
        return model.weights, model.normaliser, True
    return detector_weights(global_weights(observed.state)), normaliser_of(observed.state), False


def _normal(dataset: Dataset, video: str) -> bool:
    truth = dataset.frame_labels(video)
    return truth is not None and not truth.any()


def _scores(
    dataset: Dataset,
    videos: Sequence[str],
    weights: dict[str, np.ndarray],
    normaliser: Normaliser | None,
    threads: int,
) -> list[np.ndarray]:
    found: list[np.ndarray] = []
    for store, entries in dataset.by_store(list(videos)):
        found += score_videos(weights, store, entries, normaliser, threads)
    return found
