"""``clap label``: a method's pseudo-labels, for researchers. Simulation only: at real sites labels stay at home."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..persistence import save_npz
from .configuration import RunConfig
from .federate import Federation

__all__ = ["label"]


def label(
    dataset: Path,
    out: Path,
    *,
    method: str = "clap",
    setting: str = "collaborative",
    supervision: str = "us",
    protocol: str | None = None,
    seed: int = 0,
    normalise: str = "auto",
    **options: Any,
) -> dict[str, Any]:
    """Make the labels that training would begin with and write them to one file.

    Args:
        dataset: dataset folder; neither test videos nor frame labels are needed.
        out: ``.npz`` to write, training video -> float32 per segment.
        method, setting, supervision, protocol, seed, normalise, options: as in :func:`clap_vad.train`.

    Returns:
        How many videos and segments there are, and how many carry a label above 0.
    """
    if out.is_dir():
        raise ClapError(f"{out}: is a folder; name a file in it")
    config = RunConfig.make(
        Dataset(dataset),
        method=method,
        setting=setting,
        supervision=supervision,
        strategy="fedavg",
        protocol=protocol,
        rounds=1,
        seed=seed,
        threads=2,
        normalise=normalise,
        options=options,
    )
    opened, participants, plan, made = config.open()
    plan = dataclasses.replace(plan, rounds=0)
    shares = [{p: v} for p, v in participants.items()] if setting == "local" else [participants]
    labels: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, held in enumerate(shares):
            federation = Federation(Path(scratch) / str(number), opened, held, plan, made, config.strategy)
            state = federation.run()
            for site in federation.sites():
                own = site.state(int(state["sequence"]))["labels"]
                counts = [opened.locate(video)[1].segments for video in held[site.participant]]
                labels.update(zip(held[site.participant], np.split(own, np.cumsum(counts)[:-1]), strict=True))
    ordered = {video: labels[video] for video in opened.train_videos if video in labels}
    save_npz(out, ordered)
    return {
        "out": str(out),
        "videos": len(ordered),
        "segments": sum(len(v) for v in ordered.values()),
        "labelled_videos": sum(bool(v.any()) for v in ordered.values()),
        "labelled_segments": sum(int((v > 0).sum()) for v in ordered.values()),
    }
