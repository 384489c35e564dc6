"""The data of one participant, from a dataset on its disk."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..datasets.dataset import Dataset
from ..errors import ClapError
from .plan import SiteData

__all__ = ["site_data"]


def site_data(dataset: Dataset, participant: str, videos: Sequence[str], labelled: Collection[str] = ()) -> SiteData:
    """The data of a participant; only the labels of the videos in ``labelled`` are read.

    Raises:
        ClapError: a video has no features, a needed label is missing, or the videos are in different stores.
    """
    located = [dataset.locate(video) for video in videos]
    if len({store.path for store, _ in located}) != 1:
        raise ClapError(f"{dataset.path}: the training videos of participant '{participant}' are in different stores")
    labels = [dataset.videos[video].label if video in labelled else None for video in videos]
    for video, label in zip(videos, labels, strict=True):
        if video in labelled and label is None:
            raise ClapError(
                f"{dataset.path / 'videos.csv'}: training video '{video}' has no label; give a label (0 or 1) for each "
                "video for weak supervision, or train with --supervision us"
            )
    scenes = [dataset.videos[video].scene for video in videos]
    return SiteData(participant, located[0][0], [entry for _, entry in located], labels, scenes)
