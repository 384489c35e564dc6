"""Planning the demo's clips and rendering the missing ones."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from ..cores import available_cores
from ..errors import ClapError
from ..persistence import read_json, save_npz, write_json
from ..progress import progress_bar
from ..video.writer import write_video
from .clip import ClipPlan, frames, make_clip, truth
from .sites import SITES

__all__ = ["TRUTH", "RenderSettings", "clip_path", "plan_clips", "render_clip", "render_clips"]

TRUTH = "frame_labels.npz"
_SETTINGS = "rendering.json"
_FRAMES_A_PROCESS = 500  # frames that take about as long to render as a process takes to start


@dataclass(frozen=True)
class RenderSettings:
    """Settings of the demo's videos.

    Attributes:
        seed: seed of all random choices.
        seconds: mean length of a clip; each is up to 10 % shorter or longer.
        training, testing: number of clips per site, at most as many as the site describes.
    """

    seed: int = 0
    seconds: float = 10.0
    training: int = 8
    testing: int = 4


def plan_clips(settings: RenderSettings) -> list[ClipPlan]:
    """Every clip of the demo, site by site, training before test.

    >>> [plan.name for plan in plan_clips(RenderSettings(training=1, testing=1))][:3]
    ['corridor-train-1', 'corridor-test-1', 'street-train-1']
    """
    plans = []
    for which, site in enumerate(SITES.values()):
        clips = [("train", kind) for kind in site.training[: settings.training]]
        clips += [("test", kind) for kind in site.testing[: settings.testing]]
        number = {"train": 0, "test": 0}
        for split, anomaly in clips:
            number[split] += 1
            seed = (settings.seed, which, int(split == "test"), number[split])
            length = settings.seconds * np.random.default_rng(seed).uniform(0.9, 1.1)
            name = f"{site.name}-{split}-{number[split]}"
            plans.append(ClipPlan(name, site.name, split, anomaly, max(1, round(length * site.fps)), seed))
    return plans


def render_clip(plan: ClipPlan, path: Path) -> None:
    """Render one clip to ``path``."""
    import cv2

    cv2.setNumThreads(1)  # clips are rendered in parallel, one core each
    clip = make_clip(plan)
    write_video(path, frames(clip), clip.site.fps)


def render_clips(folder: Path, settings: RenderSettings, workers: int | None = None) -> list[ClipPlan]:
    """Write ``folder/SITE/NAME.mp4`` for every missing clip, and the frame labels of the test clips.

    Args:
        folder: gets a sub-folder per site and ``frame_labels.npz`` (name -> uint8 per frame).
        settings: the settings of the clips.
        workers: number of processes; by default at most one per core, fewer for little work.

    Raises:
        ClapError: the folder contains videos of other settings.
    """
    _claim(folder, settings)
    plans = plan_clips(settings)
    missing = [plan for plan in plans if not clip_path(folder, plan).exists()]
    if workers is None:
        worth = sum(plan.frames for plan in missing) // _FRAMES_A_PROCESS
        workers = max(1, min(available_cores(), worth))
    _render_missing(folder, missing, workers)
    if not (folder / TRUTH).exists():
        labels = {plan.name: truth(make_clip(plan)) for plan in plans if plan.split == "test"}
        save_npz(folder / TRUTH, labels)
    return plans


def clip_path(folder: Path, plan: ClipPlan) -> Path:
    """The file of a clip."""
    return folder / plan.site / f"{plan.name}.mp4"


def _claim(folder: Path, settings: RenderSettings) -> None:
    file = folder / _SETTINGS
    if file.exists():
        if read_json(file) != asdict(settings):
            raise ClapError(f"{folder}: contains demo videos of another seed or length; choose another --out")
    elif folder.exists() and any(folder.iterdir()):
        raise ClapError(f"{folder}: not empty and not a demo folder; choose another --out")
    else:
        write_json(file, asdict(settings))


def _render_missing(folder: Path, plans: Sequence[ClipPlan], workers: int) -> None:
    workers = min(workers, len(plans))
    with progress_bar("Rendering videos", len(plans)) as advance:
        if workers <= 1:
            for plan in plans:
                render_clip(plan, clip_path(folder, plan))
                advance(note=plan.name)
            return
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=spawn) as pool:
            running = {pool.submit(render_clip, plan, clip_path(folder, plan)): plan for plan in plans}
            try:
                for done in as_completed(running):
                    done.result()
                    advance(note=running[done].name)
            except BrokenProcessPool:
                raise ClapError(
                    "a rendering process died, perhaps out of memory; repeat the command to resume"
                ) from None
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
