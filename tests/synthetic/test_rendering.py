from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.synthetic.clip import frames, make_clip
from clap_vad.synthetic.rendering import TRUTH, RenderSettings, plan_clips, render_clips
from clap_vad.synthetic.sites import SITES

TINY = RenderSettings(seconds=0.6, training=1, testing=1)


def decode(path: Path) -> tuple[np.ndarray, float]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.average_rate is not None
        return np.stack(pictures), float(stream.average_rate)


def test_plans_name_every_clip_once_and_depend_on_the_seed() -> None:
    plans = plan_clips(RenderSettings())
    assert len({plan.name for plan in plans}) == len(plans) == 4 * 12
    assert plans == plan_clips(RenderSettings())
    assert [p.frames for p in plans] != [p.frames for p in plan_clips(RenderSettings(seed=1))]


def test_videos_decode_to_what_was_drawn_and_truth_fits_them(tmp_path: Path) -> None:
    folder = tmp_path / "mit Leerzeichen und ü"
    plans = render_clips(folder, TINY, workers=1)
    assert sorted(p.relative_to(folder).as_posix() for p in folder.glob("*/*.mp4")) == sorted(
        f"{plan.site}/{plan.name}.mp4" for plan in plans
    )
    with np.load(folder / TRUTH, allow_pickle=False) as labels:
        assert set(labels.files) == {plan.name for plan in plans if plan.split == "test"}
        for plan in plans:
            pictures, fps = decode(folder / plan.site / f"{plan.name}.mp4")
            assert len(pictures) == plan.frames and fps == SITES[plan.site].fps
            drawn = np.stack(list(frames(make_clip(plan))))
            assert np.abs(pictures.astype(int) - drawn).mean() < 8
            if plan.split == "test":
                assert labels[plan.name].shape == (plan.frames,) and labels[plan.name].dtype == np.uint8


def test_rendering_again_keeps_what_is_there_and_renders_what_is_missing(tmp_path: Path) -> None:
    render_clips(tmp_path / "videos", TINY, workers=1)
    files = sorted((tmp_path / "videos").glob("*/*.mp4"))
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in files}
    files[0].unlink()
    render_clips(tmp_path / "videos", TINY, workers=2)
    assert files[0].read_bytes() == before[files[0]][1]  # also: processes make no difference
    assert all(file.stat().st_mtime_ns == before[file][0] for file in files[1:])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.mp4").write_bytes(b"")
    with pytest.raises(ClapError, match="not empty and not a demo folder"):
        render_clips(tmp_path, TINY)
    render_clips(tmp_path / "videos", TINY, workers=1)
    with pytest.raises(ClapError, match="another seed"):
        render_clips(tmp_path / "videos", RenderSettings(seed=5))
