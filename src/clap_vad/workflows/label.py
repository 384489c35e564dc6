"""``clap label``: a method's pseudo-labels, for research. In one process only: real sites never share labels."""

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
from ..specification.run import RunOptions
from ..specification.signature import takes_options
from .opening import open_run
from .resolution import specify
from .suitability import feature_remarks

__all__ = ["label"]

_ROUNDS = 20
"""For methods that produce labels during training: the default of a run."""
_THREADS = 2


@takes_options("label")
def label(dataset: Path, out: Path, *, asked: RunOptions) -> dict[str, Any]:
    """Write the pseudo-labels that training would begin with to one file.

    Args:
        dataset: dataset folder; neither test videos nor frame labels are needed.
        out: ``.npz`` to write, training video -> float32 per segment.
        {options}
        options: settings of the method.

    Returns:
        The number of videos and segments, and how many of them have a label above 0.
    """
    if out.is_dir():
        raise ClapError(f"{out}: is a folder; name a file in it")
    spec = specify(Dataset(dataset), dataclasses.replace(asked, rounds=_ROUNDS, threads=_THREADS))
    opened = open_run(spec)
    if not opened.method.labels_by_training:
        opened = dataclasses.replace(opened, plan=opened.plan.having(rounds=0))
    participants = opened.participants
    shares = [{p: v} for p, v in participants.items()] if spec.setting == "local" else [participants]
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
        "remarks": feature_remarks(opened.method, spec.method, describe(store), store.valid is not None),
    }
