"""Vision models of Hugging Face (VideoMAE, TimeSformer, CLIP and similar), from the hub or a local folder."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ClapError
from ...settings import option
from ..extraction.deep import DeepExtractor, Network
from ..extraction.extractor import EXTRACTORS
from ..extraction.video_extractor import check_stride
from ..networks.hugging_face import Preprocessor, load_model, model_files, model_folder, read_json_file
from ..networks.pictures import scaled

if TYPE_CHECKING:
    import torch

__all__ = ["HuggingFace"]


@EXTRACTORS.register("hf")
@dataclass(frozen=True, kw_only=True)
class HuggingFace(DeepExtractor):
    """Features (T, 1, D): of one clip per segment, or the mean over the pictures used."""

    weights: str | None = option(None, "FOLDER of a model, or OWNER/MODEL[@REVISION] of the hub.", machine=True)
    stride: int = option(4, "Models of single pictures: use every 1st, 2nd, 4th, 8th or 16th: 1, 2, 4, 8 or 16.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stride("hf", self.stride)

    @property
    def crops(self) -> int:
        return 1

    @property
    def dim(self) -> int:
        """The width of the model's output for a black picture, as configurations have no common entry for it."""
        return _dim(self)

    @property
    def clip(self) -> int | None:
        """Number of pictures per clip of a video model; None for a model of single pictures."""
        frames = _about(self._folder())[0].get("num_frames")
        return frames if isinstance(frames, int) else None

    @property
    def step(self) -> int:
        return self.stride if self.clip is None else 1

    def weight_files(self) -> tuple[Path, ...]:
        return model_files(self._folder())

    def prepare(self, picture: np.ndarray) -> np.ndarray:
        return _about(self._folder())[1](picture)

    def views(self, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The pictures, or one clip of ``clip`` evenly spaced pictures; a short segment repeats its last picture."""
        if self.clip is None:
            return pictures
        places = [(2 * number + 1) * self.segment_frames // (2 * self.clip) for number in range(self.clip)]
        return [np.stack([pictures[min(place, len(pictures) - 1)] for place in places])]

    def pool(self, features: np.ndarray) -> np.ndarray:
        return features.mean(axis=0, keepdims=True)

    def load(self, device: torch.device) -> Network:
        model, preprocessor = load_model(self._folder(), device), _about(self._folder())[1]

        def forward(views: torch.Tensor) -> torch.Tensor:
            return model(scaled(views, preprocessor.mean, preprocessor.deviation).movedim(-1, -3))

        return forward

    def _folder(self) -> Path:
        if self.weights is None:
            raise ClapError("hf: no model; give --extractor hf:FOLDER, or hf:OWNER/MODEL of the Hugging Face hub")
        return _found(self.weights)


@functools.lru_cache(maxsize=1)
def _found(weights: str) -> Path:
    return model_folder(weights)


@functools.lru_cache(maxsize=1)
def _about(folder: Path) -> tuple[dict[str, Any], Preprocessor]:
    return read_json_file(folder / "config.json"), Preprocessor.read(folder)


@functools.lru_cache(maxsize=1)
def _dim(extractor: HuggingFace) -> int:
    black = extractor.prepare(np.zeros((256, 256, 3), np.uint8))
    try:
        return extractor.features(extractor.views([black])).shape[1]
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ClapError(
            f"{extractor.weights}: this model refuses the pictures of its preprocessor ({reason}); "
            "it is not supported, choose another model"
        ) from None
