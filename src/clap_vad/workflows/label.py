"""``clap label``: a method's pseudo-labels, for researchers. Simulation only: at real sites labels stay at home."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..features.store.description import describe
from ..persistence import save_npz
from .choices import chosen_method
from .configuration import RunConfig
from .suitability import feature_remarks

__all__ = ["label"]

_ROUNDS = 20
"""Of methods whose labels come of them, as many as a run has by default."""


def label(
    dataset: Path,
    out: Path,
    *,
    method: str | None = None,
    setting: str = "collaborative",
    supervision: str = "us",
    protocol: str | None = None,
    seed: int = 0,
    normalise: str = "auto",
    labelled_participants: float = 0.3,
    **options: Any,
) -> dict[str, Any]:
    """Make the labels that training would begin with and write them to one file.

    Args:
        dataset: dataset folder; neither test videos nor frame labels are needed.
        out: ``.npz`` to write, training video -> float32 per segment.
        method, setting, supervision, protocol, seed, normalise, labelled_participants, options: as in
            :func:`clap_vad.train`.

    Returns:
        How many videos and segments there are, and how many carry a label above 0.
    """
    if out.is_dir():
        raise ClapError(f"{out}: is a folder; name a file in it")
    config = RunConfig.make(
        Dataset(dataset),
        method=chosen_method(method, "fedavg", options),
        setting=setting,
        supervision=supervision,
        strategy="fedavg",
        protocol=protocol,
        rounds=_ROUNDS,
        seed=seed,
        threads=2,
        normalise=normalise,
        options=options,
        labelled_participants=labelled_participants,
    )
    opened = config.open()
    rounds = _ROUNDS if opened.method.labels_by_training else 0
    opened = dataclasses.replace(opened, plan=dataclasses.replace(opened.plan, rounds=rounds))
    participants = opened.participants
    shares = [{p: v} for p, v in participants.items()] if setting == "local" else [participants]
    labels: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, held in enumerate(shares):
            federation = opened.federation(Path(scratch) / str(number), held)
            state = federation.run()
            question, sequence = opened.method.final_question(state), int(state["sequence"])
            for site in federation.sites():
                program = federation.program(site.participant)
                own = program.pseudo_labels(question, site.state(sequence))
                videos = held[site.participant]
                labels.update(zip(videos, [own[part] for part in program.slices], strict=True))
    ordered = {video: labels[video] for video in opened.dataset.train_videos if video in labels}
    save_npz(out, ordered)
    store = opened.dataset.stores[0]
    return {
        "out": str(out),
        "videos": len(ordered),
        "segments": sum(len(v) for v in ordered.values()),
        "labelled_videos": sum(bool(v.any()) for v in ordered.values()),
        "labelled_segments": sum(int((v > 0).sum()) for v in ordered.values()),
        "remarks": feature_remarks(opened.method, config.method, describe(store), store.valid is not None),
    }
