"""A dataset of many short videos of people, made of drawn numbers: to see what noise costs where there are enough.

    python benchmarks/many_videos.py OUT [--videos 20000] [--cameras 13] [--seed 0]

Of the same shape as ShanghaiTech's tracks under the extractor ``tracks``: ten numbers a person and segment, cameras of
their own, a tenth of the training videos with an event in it that no label tells. 400 test videos, half of them with an
event. Then, for example, ``python benchmarks/privacy_curve.py OUT CURVE --method comet``. Prints one line.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np

from clap_vad.datasets.creation import create_dataset
from clap_vad.features.store.writer import StoreWriter

SEGMENTS, PERSONS, FRAMES, FPS = 20, 3, 16, 24.0
TEST = 400


def main() -> None:
    """Write store, table and truth, then the dataset."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--videos", type=int, default=20_000)
    parser.add_argument("--cameras", type=int, default=13)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rng = np.random.default_rng(chosen.seed)
    cameras = [Camera(rng) for _ in range(chosen.cameras)]
    work = chosen.out.with_name(chosen.out.name + "-source")
    work.mkdir(parents=True)
    settings = {"form": "person", "persons": PERSONS, "lag": 5, "fps": None, "width": None, "height": None}
    layout = {"crops": PERSONS, "dim": 10, "with_valid": True, "segment_frames": FRAMES, "normalise": "federated"}
    table, truth = [], {}
    with StoreWriter(work / "store", extractor="tracks", settings=settings, **layout) as writer:
        for number in range(chosen.videos + TEST):
            test, name = number >= chosen.videos, f"v{number:06d}"
            event = rng.random() < (0.5 if test else 0.1)
            camera = int(rng.integers(chosen.cameras))
            x, valid, when = cameras[camera].video(rng, event)
            writer.append(name, [(x, valid)], frames=SEGMENTS * FRAMES, fps=FPS)
            table.append([name, "test" if test else "train", f"camera-{camera + 1:02d}", "", ""])
            if test:
                truth[name] = np.repeat(when.astype(np.uint8), FRAMES)
        writer.finish()
    with (work / "videos.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["video", "split", "scene", "event", "label"], *table])
    np.savez(work / "frame_labels.npz", **truth)
    create_dataset(work / "store", work / "videos.csv", chosen.out, frame_labels=work / "frame_labels.npz")
    print(f"{chosen.out}: {chosen.videos} training videos, {TEST} test videos, {chosen.cameras} cameras")


class Camera:
    """What people usually do before it: a few paths, each with a pace and a place in the picture."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._pace = rng.lognormal(np.log(0.5), 0.25, 4)
        self._angle, self._place = rng.uniform(0, 2 * np.pi, 4), rng.uniform(0.2, 0.8, (4, 2))

    def video(self, rng: np.random.Generator, event: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Features (T, C, 10) float32, who is present (T, C), and in which segments the event is, (T,) bool."""
        x, valid = np.zeros((SEGMENTS, PERSONS, 10), np.float32), np.zeros((SEGMENTS, PERSONS), bool)
        when = np.zeros(SEGMENTS, bool)
        for person in range(PERSONS):
            first = int(rng.integers(0, SEGMENTS - 4))
            last = min(SEGMENTS, first + int(rng.integers(4, 14)))
            if person and rng.random() < 0.5:
                continue
            valid[first:last, person] = True
            odd = event and person == 0
            when[first:last] |= odd
            x[first:last, person] = self._person(rng, last - first, odd)
        return x, valid, when

    def _person(self, rng: np.random.Generator, segments: int, odd: bool) -> np.ndarray:
        path = int(rng.integers(4))
        pace = self._pace[path] * rng.lognormal(0, 0.2) * (rng.uniform(1.8, 3.0) if odd else 1.0)
        angle = self._angle[path] + rng.normal(0, 0.2) + (rng.uniform(0.5, 2.0) if odd else 0.0)
        speed = pace * rng.lognormal(0, 0.15, (segments, 4))
        across, down = pace * np.abs(np.cos(angle)), pace * np.sin(angle)
        place = self._place[path] + np.outer(np.arange(segments), [np.cos(angle), np.sin(angle)]) * pace * 0.03
        rest = np.column_stack(
            [
                across * rng.lognormal(0, 0.2, segments),
                down + rng.normal(0, 0.05, segments),
                rng.normal(-0.9, 0.15, segments),
                rng.normal(-1.5, 0.2) + 0.4 * (place[:, 1] - 0.5),
                place + rng.normal(0, 0.01, (segments, 2)),
            ]
        )
        return np.concatenate([speed, rest], axis=1).astype(np.float32)


if __name__ == "__main__":
    main()
