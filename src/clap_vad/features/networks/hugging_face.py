"""Vision models in the Hugging Face layout: a folder with config.json, a preprocessor file and safetensors.

Pictures are prepared here with the values of the preprocessor file, not by the processor class, whose resizing depends
on whether torchvision is installed.
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
    """The folder of a model: ``name``, or the local copy of the hub's ``owner/model`` or ``owner/model@revision``.

    Raises:
        ClapError: it is neither, or there is no local copy and the hub cannot be reached.
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
            f"{name}: cannot be downloaded from the hub ({reason}); download the model on another machine, "
            "copy it here and give the folder's path"
        ) from None


def model_files(folder: Path) -> tuple[Path, ...]:
    """The files that determine a model's features, sorted by name.

    Raises:
        ClapError: one of them is missing.
    """
    tensors = sorted(folder.glob("*.safetensors"))
    if not tensors:
        raise ClapError(f"{folder}: no *.safetensors; add them (other formats can run code and are not read)")
    return tuple(sorted([folder / "config.json", _preprocessor_file(folder), *tensors]))


def read_json_file(file: Path) -> dict[str, Any]:
    """Read a JSON object from a file.

    Raises:
        ClapError: the file is missing or is not a JSON object.
    """
    if not file.is_file():
        raise ClapError(f"{file}: no such file; give a folder with config.json, a preprocessor and safetensors")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ClapError(f"{file}: cannot be read as JSON ({error}); download it again") from None
    if not isinstance(content, dict):
        raise ClapError(f"{file}: not a JSON object; download it again")
    return content


def _preprocessor_file(folder: Path) -> Path:
    for name in _PREPROCESSORS:
        if (folder / name).is_file():
            return folder / name
    raise ClapError(f"{folder / _PREPROCESSORS[0]}: no such file; add it, as it defines the preparation of pictures")


@dataclass(frozen=True)
class Preprocessor:
    """Preparation of pictures for a model.

    Attributes:
        size: width and height, or the length of the shorter side; None for no resizing.
        resample: Pillow's number of the filter.
        crop: width and height of the centre crop; None for no crop.
        mean, deviation: per colour, for grey levels 0..255.
    """

    size: tuple[int, int] | int | None
    resample: int
    crop: tuple[int, int] | None
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]

    @classmethod
    def read(cls, folder: Path) -> Preprocessor:
        """Read the preprocessor file of a model's folder.

        Raises:
            ClapError: there is none, or it needs an unsupported operation.
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
                f"{file}: unsupported preprocessor ({type(error).__name__}: {error}); choose another model"
            ) from None

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """Resize and crop a picture (H, W, 3) uint8; scaling is done on the device."""
        if self.size is not None:
            size = shorter_side(picture.shape, self.size) if isinstance(self.size, int) else self.size
            picture = resize(picture, *size, self.resample)
        if self.crop is None:
            return picture
        width, height = self.crop
        short = [max(0, want - have) for want, have in zip((height, width), picture.shape, strict=False)]
        if any(short):  # a crop larger than the picture is padded with black
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
    """Load the vision model of a folder: maps scaled pictures (n, 3, H, W), or clips (n, T, 3, H, W), to (n, D).

    Features are the model's pooled output (for CLIP the projected embedding). Without pooling, or without weights for
    it in the checkpoint, they are the mean of the last hidden states.

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
    except Exception as error:  # the library raises many types, all about the folder
        reason = " ".join(str(error).split())[:200]
        raise ClapError(f"{folder}: cannot be loaded by transformers ({type(error).__name__}: {reason})") from None
    missing = sorted(about["missing_keys"]) + sorted(str(key) for key in about["mismatched_keys"])
    unpooled = any("pooler" in name for name in missing)
    missing = [name for name in missing if "pooler" not in name]
    if missing:
        raise ClapError(
            f"{folder}: its safetensors have no '{missing[0]}', which config.json requires; download it again"
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
