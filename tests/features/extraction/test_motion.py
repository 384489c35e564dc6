"""Motion features: known speeds at several resolutions and frame rates, places, edges, and bounded memory."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.extraction.extractor import make_extractor
from clap_vad.features.measures.flow import FEATURE_NAMES, segment_statistics

COLUMN = {name: index for index, name in enumerate(FEATURE_NAMES)}
LOSSLESS = {"codec": "ffv1", "pix_fmt": "gray"}


def extract(path, **settings):
    extraction = make_extractor("motion", settings).extract(path)
    blocks = list(extraction)
    assert all(block.valid is None for block in blocks)
    return np.concatenate([block.features for block in blocks]), extraction.ending


def still_columns(features):
    """Everything but the appearance of the picture."""
    return features[..., : COLUMN["gradient mean"]]


@pytest.mark.parametrize(
    ("height", "width", "fps", "settings", "direction"),
    [
        (180, 320, 25, {}, (1.0, 0.0)),
        (360, 640, 25, {}, (1.0, 0.0)),
        (360, 640, 12, {}, (-1.0, 0.0)),
        (180, 320, 12, {}, (0.0, 1.0)),
        (180, 320, 50, {"stride": 2}, (-0.6, 0.8)),
        (320, 180, 25, {}, (-0.6, -0.8)),
        (240, 320, 25, {"side": 200}, (0.0, -1.0)),
    ],
)
def test_flow_is_the_true_speed_in_heights_per_second(
    tmp_path, render, moving, height, width, fps, settings, direction
):
    speed = 0.2
    velocity = tuple(speed * height / fps * part for part in direction)
    path = render(tmp_path / "glide.mkv", moving(20, height, width, velocity), fps=fps, **LOSSLESS)
    features, ending = extract(path, **settings)
    assert (ending.frames, ending.fps) == (20, fps)
    inner = features.reshape(2, 6, 8, -1)[:, 1:-1, 1:-1]  # at the border new texture comes in
    measured = {name: inner[..., COLUMN[name]].mean() for name in FEATURE_NAMES}
    assert measured["speed mean"] == pytest.approx(speed, rel=0.1)
    assert measured["horizontal velocity mean"] == pytest.approx(speed * direction[0], abs=0.02)
    assert measured["vertical velocity mean"] == pytest.approx(speed * direction[1], abs=0.02)
    assert measured["share of moving samples"] > 0.98
    angle = np.degrees(np.arctan2(direction[1], direction[0])) % 360
    histogram = [measured[f"speed in direction {45 * k} degrees"] for k in range(8)]
    assert np.argmax(histogram) == round(angle / 45) % 8
    assert sum(histogram) == pytest.approx(measured["speed mean"], rel=1e-4)


def test_a_picture_that_stands_still_does_not_move(tmp_path, render, texture):
    path = render(tmp_path / "still.mp4", [texture(180, 320)] * 40)
    features, _ = extract(path)
    assert np.abs(features[..., COLUMN["speed mean"]]).max() < 0.003
    assert features[..., COLUMN["share of moving samples"]].max() < 0.01
    assert features[..., COLUMN["gradient mean"]].min() > 0


@pytest.mark.parametrize("frames", [1, 2, 15, 16, 17, 33])
def test_the_last_segment_may_be_short(tmp_path, render, moving, frames):
    features, ending = extract(render(tmp_path / "a.mkv", moving(frames, 48, 64), **LOSSLESS))
    assert ending.frames == frames
    assert features.shape == (-(-frames // 16), 48, 24)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    if frames == 1:
        assert not still_columns(features).any()


def test_blocks_join_to_the_same_whole_whatever_the_length(tmp_path, render, moving):
    """A segment depends on its own frames and the last one before, wherever blocks begin."""
    long = extract(render(tmp_path / "long.mkv", moving(20 * 16, 32, 48), **LOSSLESS))[0]
    short = extract(render(tmp_path / "short.mkv", moving(20 * 16, 32, 48)[:48], **LOSSLESS))[0]
    assert long.shape[0] == 20
    np.testing.assert_array_equal(long[:3], short)


def test_a_jump_between_two_segments_counts_for_the_later_one(tmp_path, render, moving):
    here, there = moving(2, 120, 160, (3.0, 0.0))
    path = render(tmp_path / "jump.mkv", [here] * 16 + [there] * 16, **LOSSLESS)
    features, _ = extract(path)
    first, second = features[..., COLUMN["speed maximum"]]
    assert first.max() < 1e-3
    assert second.max() > 0.3


def test_a_moving_thing_is_found_in_its_cell(tmp_path, render, texture):
    background, thing = texture(240, 320), texture(40, 40, seed=5)
    pictures = []
    for t in range(16):
        picture = background.copy()
        picture[170:210, 205 + t : 245 + t] = thing
        pictures.append(picture)
    features, _ = extract(render(tmp_path / "a.mkv", pictures, **LOSSLESS), rows=3, cols=4)
    speed = features[0, :, COLUMN["speed mean"]].reshape(3, 4)
    assert np.unravel_index(np.argmax(speed), speed.shape) == (2, 2)


@pytest.mark.parametrize("size", [(2, 2), (16, 16), (8, 400), (51, 35)])
def test_tiny_and_odd_pictures(tmp_path, render, moving, size):
    features, _ = extract(render(tmp_path / "a.mkv", moving(18, *size), **LOSSLESS))
    assert features.shape == (2, 48, 24)
    assert np.isfinite(features).all()


def test_statistics_equal_a_slow_obvious_loop():
    rng = np.random.default_rng(3)
    rows, cols, s = 2, 3, 4
    velocity = rng.normal(0, 0.05, (5, rows * s, cols * s, 2))
    change, difference, gradient = rng.random((3, 5, rows * s, cols * s))
    got = segment_statistics(velocity, change, difference, gradient, rows, cols)
    for cell in range(rows * cols):
        r, c = divmod(cell, cols)
        part = (slice(None), slice(r * s, r * s + s), slice(c * s, c * s + s))
        vx, vy = velocity[part][..., 0].ravel(), velocity[part][..., 1].ravel()
        speed = np.sqrt(vx**2 + vy**2)
        bins = np.zeros(8)
        for x, y, v in zip(vx, vy, speed, strict=True):
            bins[int(((np.degrees(np.arctan2(y, x)) + 22.5) % 360) // 45)] += v
        expected = [
            *(speed.mean(), speed.std(), np.quantile(speed, 0.9), np.quantile(speed, 0.98), speed.max()),
            *(abs(vx).mean(), abs(vy).mean(), vx.mean(), vy.mean()),
            *(bins / speed.size),
            np.mean(speed > 0.03),
            *(change[part].mean(), change[part].max(), difference[part].mean(), difference[part].std()),
            *(gradient[part].mean(), gradient[part].std()),
        ]
        np.testing.assert_allclose(got[cell], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rows": 0}, "the grid is 0 x 8"),
        ({"side": 5}, "side is 5"),
        ({"stride": 3}, "stride is 3"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"rows": "six"}, "--rows is 'six'; a whole number is needed"),
        ({"grid": 3}, "no setting 'grid'"),
    ],
)
def test_bad_settings_are_refused(settings, reason):
    with pytest.raises(ClapError, match=reason):
        make_extractor("motion", settings)


def test_memory_does_not_grow_with_the_video(tmp_path, render, moving):
    short, long = (render(tmp_path / f"{n}.mp4", moving(n, 120, 160)) for n in (160, 960))
    measure = textwrap.dedent("""
        import sys
        from pathlib import Path
        from clap_vad.features.extraction.extract import extract_one
        def anonymous():
            return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("RssAnon"))
        peaks = []
        for path in sys.argv[1:]:
            peaks.append(max(anonymous() for _ in extract_one("motion", {"side": 64}, Path(path))))
        print(*peaks)
    """)
    done = subprocess.run([sys.executable, "-c", measure, short, long], capture_output=True, text=True, check=True)
    of_short, of_long = map(int, done.stdout.split())
    assert of_long - of_short < 3072  # KiB; the features alone of the longer one would be 280 KB, its pictures 18 MB
