"""What one participant holds, from a dataset on its disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..datasets.dataset import Dataset
from ..errors import ClapError
from .plan import SiteData

__all__ = ["site_data"]


def site_data(dataset: Dataset, participant: str, videos: Sequence[str], labelled: Collection[str] = ()) -> SiteData:
    """What a participant holds; no label is read but those of the videos in ``labelled``.

    Raises :class:`ClapError` when a video has no features, its label is missing where it is needed, or the
    participant's videos lie in different stores.
    """
    located = [dataset.locate(video) for video in videos]
    if len({store.path for store, _ in located}) != 1:
        raise ClapError(f"{dataset.path}: the training videos of participant '{participant}' lie in different stores")
    labels = [dataset.videos[video].label if video in labelled else None for video in videos]
    for video, label in zip(videos, labels, strict=True):
        if video in labelled and label is None:
            raise ClapError(
                f"{dataset.path / 'videos.csv'}: training video '{video}' has no label; weak supervision "
                "needs one (0 or 1) for each, or train with --supervision us"
            )
    scenes = [dataset.videos[video].scene for video in videos]
    return SiteData(participant, located[0][0], [entry for _, entry in located], labels, scenes)
