"""Films in which something moves for a while, and a model that notices."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np

from clap_vad.core.statistics.moments import Normaliser
from clap_vad.detector.models.network import NetworkModel
from clap_vad.detector.network import initial_weights
from clap_vad.features.extraction.extractor import make_extractor

SETTINGS = {"rows": 2, "cols": 2, "side": 96}
FRAMES, FPS = 120, 20
MOVES, EVENT = (50, 94), (48, 96)  # the event is the three segments in which something moves


def write_video(path: Path, moves: tuple[int, int] = MOVES, frames: int = FRAMES, quarter: bool = False) -> Path:
    """A still texture that slides to the right while ``moves`` lasts, all of it or its lower right quarter."""
    texture = np.kron(np.random.default_rng(0).integers(40, 216, (12, 400)), np.ones((8, 8))).astype(np.uint8)
    shift = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "yuv420p"
        for number in range(frames):
            shift = (shift + 3 * (moves[0] <= number < moves[1])) % 3000
            picture = np.array(texture[:, shift : shift + 96])
            if quarter:
                picture[:48], picture[48:, :48] = texture[:48, :96], texture[48:, :48]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")))
        container.mux(stream.encode())
    return path


def make_model(**info) -> NetworkModel:
    """A detector that adds up all features: near 0.12 where nothing moves, higher with motion."""
    extractor = make_extractor("motion", SETTINGS)
    dim = extractor.dim
    weights = {name: np.zeros_like(array) for name, array in initial_weights(dim, 0).items()}
    weights["layer1.weight"][0] = 1.0
    weights["layer2.weight"][0, 0] = 1.0
    weights["layer3.weight"][0, 0] = 0.15
    weights["layer3.bias"][0] = -2.0
    described = {
        "extractor": {"name": "motion", "settings": extractor.settings()},
        "segment_frames": 16,
        "dim": dim,
        "calibration": {"quantile": 0.99, "threshold": 0.4, "quantiles": {"0.5": 0.2, "0.9": 0.3, "0.99": 0.4}},
    }
    return NetworkModel(weights, Normaliser(np.zeros(dim, np.float32), np.ones(dim, np.float32)), {**described, **info})
