"""Isolation of the smallest participant's contribution, from its messages or the difference of two cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..federation.messages import Message
from ..protection.session import LEAST_COHORT
from ..workflows.opening import Opened
from .attacks.isolation import difference_of_means, difference_of_sums, relative_error, smallest_differences
from .replay import Observed, replay

__all__ = ["isolation"]


def isolation(opened: Opened, observed: Observed, scratch: Path) -> dict[str, Any]:
    """Isolate the smallest participant's contribution, from its messages or the difference of two cohorts.

    Args:
        opened: the run's configuration.
        observed: its replay.
        scratch: an empty folder, for replays with other cohorts.

    Returns:
        Relative errors, None where there is nothing to measure, and ``meaning``: the result in sentences.
    """
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
    if observed.noised:
        # There is no reference to measure against: the contribution without noise never left the site.
        came = "arrive one by one" if not observed.plan.spec.secure_aggregation else "are hidden in sums"
        return result | {
            "meaning": f"The messages of '{name}' ({videos} videos) {came} and contain noise: nothing exact can be "
            "isolated, so no error is given. The run's epsilon bounds what the noise does not hide."
        }
    if not observed.plan.spec.secure_aggregation:
        return result | _alone(observed, name, videos)
    within = (
        "All sums of the run are over the same cohort, so no difference can be formed. "
        if apart is None
        else f"The sums of the run are over {cohorts} cohorts; two of them differ by {apart} participants. "
    )
    if len(opened.participants) - 1 < LEAST_COHORT:
        return result | {
            "meaning": within + f"Without '{name}' fewer than {LEAST_COHORT} remain, so a second sum is refused."
        }
    # The coordinator may also ask all participants where the run draws some.
    full = observed if observed.plan.spec.fraction == 1 else replay(opened, scratch / "full", 1, everybody=True)
    alone = replay(opened, scratch / "alone", 1, secure=False, everybody=True)
    without = replay(opened, scratch / "without", 1, without=name, everybody=True)
    # A coordinator may reuse the first cohort's normalisation, so that the others' updates stay the same.
    names = {"normaliser.mean", "normaliser.scale"}
    known = {key: value for key, value in observed.state.items() if key in names}
    again = without
    if observed.of("train"):  # otherwise the method sends no updates
        again = replay(opened, scratch / "again", 1, without=name, known=known, everybody=True)
    result |= _differenced(full, without, again, alone, name)
    errors = [
        f"its {what} within {result[key]:.2g}"
        for key, what in (("feature_moments_error", "feature sums"), ("update_error", "update"))
        if result[key] is not None
    ]
    return result | {
        "meaning": f"{within}A second run without '{name}' ({videos} videos), which a coordinator can start, would "
        f"reveal {' and '.join(errors) or 'nothing'} (relative error)." + _one_video(videos)
    }


def _one_video(videos: int) -> str:
    return " Its feature mean is that of its only video." if videos == 1 else ""


def _alone(observed: Observed, name: str, videos: int) -> dict[str, Any]:
    own = {step: _own(observed, step, name) is not None for step in ("moments", "train")}
    return {
        "feature_moments_error": 0.0 if own["moments"] else None,
        "feature_mean_error": 0.0 if own["moments"] else None,
        "update_error": 0.0 if own["train"] else None,
        "meaning": f"No difference is needed: every message of '{name}' ({videos} videos) arrived on its own."
        + _one_video(videos),
    }


def _differenced(full: Observed, without: Observed, again: Observed, alone: Observed, name: str) -> dict[str, Any]:
    """Errors of the participant's contribution as the difference of two sums, against what it really sent.

    Args:
        full: the run.
        without: the run without the participant.
        again: the same, with the normalisation of ``full``.
        alone: the full run without masks.
        name: the participant.
    """
    result: dict[str, Any] = {}
    pair, own = _pair(full, without, "moments", name), _own(alone, "moments", name)
    if pair is not None and own is not None:
        found = difference_of_sums(*({k: np.asarray(v) for k, v in each.items()} for each in pair))
        truth = {key: np.asarray(value, np.float64) for key, value in own.items()}
        total = "sum" if "sum" in truth else "mean"  # COMET's sum is of clipped rows
        mean, true = found[total] / found["count"], truth[total] / truth["count"]
        result["feature_moments_error"] = relative_error(found, truth)
        result["feature_mean_error"] = relative_error({"mean": mean}, {"mean": true})
    pair, own = _pair(full, again, "train", name), _own(alone, "train", name)
    if pair is not None and own is not None:
        counts = (int(pair[0]["count"]), int(pair[1]["count"]))
        found = difference_of_means(_update(pair[0]), _update(pair[1]), counts)
        result["update_error"] = relative_error(found, _update(own))
    return result


def _pair(full: Observed, without: Observed, step: str, name: str) -> tuple[Message, Message] | None:
    """First sums of a step over two cohorts that differ only by the participant."""
    for more, fewer in zip(full.of(step)[:1], without.of(step)[:1], strict=False):
        if set(more.members) - set(fewer.members) == {name} and set(fewer.members) <= set(more.members):
            return more.replies[0].message, fewer.replies[0].message
    return None


def _own(observed: Observed, step: str, name: str) -> Message | None:
    replies = [reply for seen in observed.of(step)[:1] for reply in seen.replies]
    return next((reply.message for reply in replies if reply.participant == name), None)


def _update(message: Message) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in message.items() if key.startswith("update.")}
