"""Vision models in the layout of Hugging Face: a folder with config.json, a preprocessor and safetensors.

Pictures are prepared here by the folder's own numbers, not by its processor class: that one resizes differently with
and without torchvision installed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ClapError
from .pictures import BILINEAR, resize, shorter_side

if TYPE_CHECKING:
    import torch

__all__ = ["Preprocessor", "load_model", "model_files", "model_folder", "read_json_file"]

_IDENTIFIER = re.compile(r"(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_PREPROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json")
_INSTALL = "pip install -c constraints.txt 'clap-vad[deep]'"


def model_folder(name: str) -> Path:
    """The folder of a model: ``name`` itself, or where the hub's ``owner/model`` or ``owner/model@revision`` is kept.

    Raises:
        ClapError: it is neither, or the hub cannot be reached and has not been before.
    """
    if Path(name).is_dir():
        return Path(name)
    match = _IDENTIFIER.fullmatch(name)
    if match is None or Path(name).exists():
        raise ClapError(
            f"{name}: neither a folder nor a model of the hub; give FOLDER, OWNER/MODEL or OWNER/MODEL@REVISION"
        )
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError:
        raise ClapError(f"the package huggingface_hub is not installed; {_INSTALL}") from None
    try:
        wanted = ["*.safetensors", "*.safetensors.index.json", "config.json", *_PREPROCESSORS]
        return Path(snapshot_download(match["id"], revision=match["revision"], allow_patterns=wanted))
    except (OSError, ValueError, HfHubHTTPError) as error:  # offline, refused, unknown, or a full disk
        reason = " ".join(str(error).split())[:200]
        raise ClapError(
            f"{name}: cannot be fetched from the hub ({reason}); fetch the model on a machine that can, "
            "and give the folder's path"
        ) from None


def model_files(folder: Path) -> tuple[Path, ...]:
    """The files that decide what a model's features are, in order of name.

    Raises:
        ClapError: one of them is missing.
    """
    tensors = sorted(folder.glob("*.safetensors"))
    if not tensors:
        raise ClapError(f"{folder}: holds no *.safetensors; other formats can run code and are not read")
    return tuple(sorted([folder / "config.json", _preprocessor_file(folder), *tensors]))


def read_json_file(file: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        ClapError: there is none.
    """
    if not file.is_file():
        raise ClapError(f"{file}: no such file; give a folder with config.json, a preprocessor and safetensors")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClapError(f"{file}: cannot be read as JSON ({error}); fetch it again") from None
    if not isinstance(content, dict):
        raise ClapError(f"{file}: holds no JSON object; fetch it again")
    return content


def _preprocessor_file(folder: Path) -> Path:
    for name in _PREPROCESSORS:
        if (folder / name).is_file():
            return folder / name
    raise ClapError(f"{folder / _PREPROCESSORS[0]}: no such file; it says how pictures are to be prepared")


@dataclass(frozen=True)
class Preprocessor:
    """How a model wants its pictures.

    Attributes:
        size: width and height, or the length of the shorter side; None leaves pictures as they are.
        resample: Pillow's number of the filter.
        crop: width and height of the centre that is taken; None for none.
        mean, deviation: per colour, of the grey levels 0..255.
    """

    size: tuple[int, int] | int | None
    resample: int
    crop: tuple[int, int] | None
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @classmethod
    def read(cls, folder: Path) -> Preprocessor:
        """That of a model's folder.

        Raises:
            ClapError: there is none, or it asks for what is not known here.
        """
        file = _preprocessor_file(folder)
        content = read_json_file(file)
        try:
            factor = content.get("rescale_factor", 1 / 255) if content.get("do_rescale", True) else 1.0
            mean, deviation = (0.0,) * 3, (1.0,) * 3
            if content.get("do_normalize", True):
                mean, deviation = _colours(content["image_mean"]), _colours(content["image_std"])
            return cls(
                size=_size(content["size"]) if content.get("do_resize", True) else None,
                resample=content.get("resample", BILINEAR),
                crop=_crop(content) if content.get("do_center_crop") else None,
                mean=(mean[0] / factor, mean[1] / factor, mean[2] / factor),
                deviation=(deviation[0] / factor, deviation[1] / factor, deviation[2] / factor),
            )
        except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise ClapError(
                f"{file}: not understood ({type(error).__name__}: {error}); such a model is not known here"
            ) from None

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """A picture (H, W, 3) uint8, resized and cropped; scaling is left to the device."""
        if self.size is not None:
            size = shorter_side(picture.shape, self.size) if isinstance(self.size, int) else self.size
            picture = resize(picture, *size, self.resample)
        if self.crop is None:
            return picture
        width, height = self.crop
        short = [max(0, want - have) for want, have in zip((height, width), picture.shape, strict=False)]
        if any(short):  # a crop larger than the picture has black around it
            before = [amount // 2 + amount % 2 for amount in short]
            pads = [(b, amount - b) for b, amount in zip(before, short, strict=True)]
            picture = np.pad(picture, [*pads, (0, 0)])
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        return picture[top : top + height, left : left + width]


def _colours(values: Any) -> tuple[float, float, float]:
    red, green, blue = map(float, values)
    return red, green, blue


def _size(value: Any) -> tuple[int, int] | int:
    if isinstance(value, int):
        return value
    if "shortest_edge" in value and "longest_edge" not in value:
        return int(value["shortest_edge"])
    return int(value["width"]), int(value["height"])


def _crop(content: dict[str, Any]) -> tuple[int, int]:
    value = content.get("crop_size", content["size"])
    size = _size(value) if isinstance(value, int) or "height" in value else int(value["shortest_edge"])
    return (size, size) if isinstance(size, int) else size


def load_model(folder: Path, device: torch.device) -> Callable[[torch.Tensor], torch.Tensor]:
    """The vision model of a folder: scaled pictures (n, 3, H, W), or clips (n, T, 3, H, W), to (n, D).

    Features are what the model pools itself (for CLIP the projected embedding), else the mean of its last hidden
    states: also where the checkpoint has no weights for the pooling, which would be random numbers.

    Raises:
        ClapError: transformers is not installed, or the folder's model cannot be used.
    """
    try:
        import transformers
    except ImportError:
        raise ClapError(f"the package transformers is not installed; {_INSTALL}") from None
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    import torch

    kind = read_json_file(folder / "config.json").get("model_type")
    of_clip = kind in ("clip", "clip_vision_model")
    loader: Any = transformers.CLIPVisionModelWithProjection if of_clip else transformers.AutoModel
    try:
        model, about = loader.from_pretrained(
            str(folder), use_safetensors=True, trust_remote_code=False, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # the library raises many kinds, none of them about anything but the folder
        reason = " ".join(str(error).split())[:200]
        raise ClapError(f"{folder}: cannot be loaded by transformers ({type(error).__name__}: {reason})") from None
    missing = sorted(about["missing_keys"]) + sorted(str(key) for key in about["mismatched_keys"])
    unpooled = any("pooler" in name for name in missing)
    missing = [name for name in missing if "pooler" not in name]
    if missing:
        raise ClapError(
            f"{folder}: its safetensors have no '{missing[0]}', which its config.json asks for; fetch it again"
        )
    model = model.to(device).eval().requires_grad_(False)

    def forward(pixels: torch.Tensor) -> torch.Tensor:
        found = model(pixel_values=pixels)
        pooled = found.image_embeds if of_clip else getattr(found, "pooler_output", None)
        if pooled is None or unpooled:
            states = found.last_hidden_state
            pooled = states.mean(dim=1) if states.ndim == 3 else states.mean(dim=(2, 3))
        return pooled.flatten(1)

    return forward
