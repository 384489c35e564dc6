"""Base class of extractors with a neural network.

A subclass prepares pictures, selects the views of a segment that go through the network, and loads the network. This
module handles batches, devices, precision and checks. A network is loaded once per process and never trained. On the
CPU it uses one thread, so that the order of its sums, and thus every bit of a feature, is the same in every process.
"""

from __future__ import annotations

import contextlib
import functools
from abc import abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ...errors import ClapError
from ...persistence import file_sha256
from ...settings import option
from ..segments import SegmentFeatures
from .extractor import Ending
from .video_extractor import VideoExtractor

if TYPE_CHECKING:
    import torch

__all__ = ["DeepExtractor", "Network"]

Network = Callable[["torch.Tensor"], "torch.Tensor"]
"""Maps views (n, ...) uint8, RGB last, to features (n, D), on its device."""


@dataclass(frozen=True, kw_only=True)
class DeepExtractor(VideoExtractor):
    """Base of extractors with a neural network."""

    colour: ClassVar[bool] = True
    lead: ClassVar[int] = 16

    weights: str | None = option(None, "Path of the network's weights.", machine=True)
    device: str = option(
        "auto", "Device of the network: cpu, cuda, cuda:1, or auto (a GPU if there is one).", machine=True
    )
    batch: int = option(16, "Pictures or clips per batch of the network; fewer need less memory.", machine=True)
    precision: Literal["float32", "mixed"] = option(
        "float32", "float32, or mixed: half precision where it hardly matters, faster on a GPU."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.batch <= 4096:
            raise ClapError(f"batch is {self.batch}; give 1 to 4096")

    @property
    def step(self) -> int:
        """Every how many pictures of a segment one is used, starting with the first."""
        return 1

    @abstractmethod
    def prepare(self, picture: np.ndarray) -> np.ndarray:
        """Resize a decoded picture (H, W, 3) uint8 to the size that is kept until its segment is complete."""

    @abstractmethod
    def views(self, pictures: Sequence[np.ndarray]) -> Sequence[np.ndarray]:
        """The network inputs (uint8, RGB last) from the prepared pictures of a segment, at least one picture."""

    @abstractmethod
    def load(self, device: torch.device) -> Network:
        """Load the network onto a device.

        Raises:
            ClapError: a package or the weights are missing, or the weights do not fit.
        """

    def pool(self, features: np.ndarray) -> np.ndarray:
        """Features (C, D) of a segment from those of its views; by default each view is a region."""
        return features

    def weight_files(self) -> tuple[Path, ...]:
        """The files that determine the features."""
        if self.weights is None:
            raise ClapError("this extractor needs the weights of its network; give their path: --weights FILE")
        return (Path(self.weights),)

    @property
    def weights_sha256(self) -> str:
        """SHA-256 of the weight file; for several files, that of the lines ``name checksum``."""
        return _checksum(_stamps(self.weight_files()))

    def maker(self, fps: float) -> _Maker:
        return _Maker(self)

    def blocks(self, path: Path) -> Generator[SegmentFeatures, None, Ending]:
        try:
            return (yield from super().blocks(path))
        except _UnusableError as error:
            raise ClapError(f"{path}: {error}") from None

    def features(self, views: Sequence[np.ndarray]) -> np.ndarray:
        """Features (n, D) float32 of n views of equal shape."""
        import torch

        network, device = _loaded(self, _stamps(self.weight_files()))
        half = torch.bfloat16 if device.type == "cpu" else torch.float16
        found = []
        with _repeatable(), torch.inference_mode(), torch.autocast(device.type, half, self.precision == "mixed"):
            for start in range(0, len(views), self.batch):
                batch = torch.from_numpy(np.stack(views[start : start + self.batch])).to(device)
                try:
                    found.append(network(batch).float().cpu().numpy())
                except torch.OutOfMemoryError:
                    raise _UnusableError("the GPU has too little memory left; give a smaller --batch") from None
        return np.concatenate(found)


class _UnusableError(ClapError):
    """The features of a video are unusable."""


class _Maker:
    """Prepares the pictures of a segment and runs the network once the segment is complete."""

    def __init__(self, extractor: DeepExtractor) -> None:
        self._extractor = extractor
        self._pictures: list[np.ndarray] = []
        self._taken = self._segment = 0

    def add(self, picture: np.ndarray) -> None:
        if self._taken % self._extractor.step == 0:
            self._pictures.append(self._extractor.prepare(picture))
        self._taken += 1

    def finish(self) -> SegmentFeatures:
        tool = self._extractor
        features = tool.pool(tool.features(tool.views(self._pictures)))
        if not np.isfinite(features).all():
            remedy = "check the weights" + (" or use --precision float32" if tool.precision == "mixed" else "")
            raise _UnusableError(f"segment {self._segment}: the network returned a value that is not finite; {remedy}")
        self._pictures, self._taken, self._segment = [], 0, self._segment + 1
        return SegmentFeatures(features[None])


@contextlib.contextmanager
def _repeatable() -> Iterator[None]:
    """Context for reproducible results: one CPU thread; on a GPU deterministic algorithms and full float32 products."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    finally:
        torch.set_num_threads(threads)


_Stamps = tuple[tuple[Path, int, int], ...]


def _stamps(files: Sequence[Path]) -> _Stamps:
    """Files with size and modification time; used as cache key, so that a changed file is loaded again."""
    for file in files:
        if not file.is_file():
            raise ClapError(f"{file}: no such file; give the weights of the network: --weights FILE")
    return tuple((file, file.stat().st_size, file.stat().st_mtime_ns) for file in files)


@functools.lru_cache(maxsize=8)
def _checksum(stamps: _Stamps) -> str:
    sums = {file.name: file_sha256(file) for file, _, _ in stamps}
    if len(sums) == 1:
        return next(iter(sums.values()))
    return sha256("".join(f"{name} {sums[name]}\n" for name in sorted(sums)).encode()).hexdigest()


@functools.lru_cache(maxsize=2)
def _loaded(extractor: DeepExtractor, stamps: _Stamps) -> tuple[Network, torch.device]:
    device = _device(extractor.device)
    return extractor.load(device), device


def _device(name: str) -> torch.device:
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ClapError(f"--device is '{name}'; give auto, cpu, cuda or cuda:NUMBER") from None
    if device.type not in ("cpu", "cuda"):
        raise ClapError(f"--device is '{name}'; give auto, cpu, cuda or cuda:NUMBER")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ClapError(f"--device is '{name}', but torch finds {torch.cuda.device_count()} GPUs; use cpu or auto")
    return device
