"""The same video gives the same bytes, however often and whatever else the process has in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clap_vad.features.extraction.extract import extract_one
from clap_vad.synthetic.rendering import RenderSettings, plan_clips, render_clip


def test_motion_features_are_equal_to_the_last_bit(tmp_path: Path) -> None:
    plan = plan_clips(RenderSettings(seconds=4, training=1, testing=0))[0]
    render_clip(plan, tmp_path / "clip.mp4")

    def features() -> bytes:
        settings = {"rows": 3, "cols": 4, "side": 256}
        return np.concatenate(
            [block.features for block in extract_one("motion", settings, tmp_path / "clip.mp4")]
        ).tobytes()

    first = features()
    held = []
    for size in (1000, 77_777, 1_234_567):  # other blocks of memory are handed out each time
        held.append(np.ones(size))
        assert features() == first
