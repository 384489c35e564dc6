"""The demo's videos, rendered or the user's own, in one folder per site."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.text.naming import natural_key
from ..datasets.truth import read_frame_labels
from ..errors import ClapError, harmless, unprintable
from ..features.extraction.extractor import Extractor
from ..features.extraction.inputs import PassOver, find_inputs
from ..features.naming import video_name
from ..synthetic.rendering import TRUTH, RenderSettings, clip_path, render_clips
from ..synthetic.sites import SITES
from ..video.access import unreadable
from ..video.links import leads_out

__all__ = ["DemoVideo", "link_videos", "own_videos", "read_truth", "rendered_videos", "stories"]

LAYOUT = "one sub-folder per site is needed, DIR/SITE/*.mp4, and if you like DIR/SITE/test/*.mp4 for videos to test on"


@dataclass(frozen=True)
class DemoVideo:
    """One video of a site.

    Attributes:
        name: unique over all sites.
        site: who holds it.
        split: ``train`` or ``test``.
        path: in the demo's folder.
        source: the original file; equals ``path`` for a rendered video.
        anomaly: the rendered anomaly, "" for none; None where unknown.
    """

    name: str
    site: str
    split: str
    path: Path
    source: Path
    anomaly: str | None = None


def rendered_videos(folder: Path, settings: RenderSettings) -> list[DemoVideo]:
    """Render the videos missing in ``folder`` and return all of them."""
    placed = [(plan, clip_path(folder, plan)) for plan in render_clips(folder, settings)]
    return [DemoVideo(plan.name, plan.site, plan.split, path, path, plan.anomaly) for plan, path in placed]


def own_videos(
    source: Path, folder: Path, extractor: Extractor, leave_out: Path, pass_over: PassOver
) -> list[DemoVideo]:
    """The user's videos: each sub-folder of ``source`` is a site; :func:`link_videos` creates each ``path``.

    Videos in ``SITE/test`` and those with truth in ``source/frame_labels.npz`` are for testing, all others for
    training. A name used by several sites is prefixed with the site. ``pass_over`` is called for links that lead out
    of their folder.

    Raises:
        ClapError: no folder, no site, a site without videos, or truth of an unknown video; names the layout needed.
    """
    if not source.is_dir():
        raise ClapError(f"{source}: no such folder; {LAYOUT}")
    sites = [p for p in source.iterdir() if p.is_dir() and not p.name.startswith(".") and not _same(p, leave_out)]
    for link in [site for site in sites if leads_out(site, source)]:
        sites.remove(link)
        reason = f"{link}: a link out of {source}, not followed; put the folder itself there"
        pass_over(link, harmless(reason))
    if not sites:
        raise ClapError(f"{source}: contains no sub-folder; {LAYOUT}")
    _pass_over_strays(source, extractor, pass_over)
    if strange := [site for site in sites if unprintable(site.name)]:
        raise ClapError(f"{source}: {strange[0].name!r} is not allowed as a site's name; rename the folder")
    found = []
    for site in sorted(sites, key=lambda p: natural_key(p.name)):
        try:
            next(site.iterdir(), None)
        except OSError as error:
            pass_over(site, harmless(f"{site}: {unreadable(error)}"))
            continue
        try:
            inputs = find_inputs([site], extractor, leave_out=[leave_out], pass_over=pass_over)
        except ClapError as error:
            raise ClapError(f"{error} ({LAYOUT})") from None
        found += [(site, name, path) for name, path in sorted(inputs.items(), key=lambda item: natural_key(item[0]))]
    if not found:
        raise ClapError(f"{source}: none of its sub-folders can be read; {LAYOUT}")
    uses = Counter(name for _, name, _ in found)
    truth = read_truth(source)
    videos = []
    for site, stem, path in found:
        name = stem if uses[stem] == 1 else f"{site.name}-{stem}"
        tested = name in truth or path.relative_to(site).parts[:-1][:1] == ("test",)
        split = "test" if tested else "train"
        videos.append(DemoVideo(name, site.name, split, folder / site.name / _file_name(name, path), path.resolve()))
    names = Counter(video.name for video in videos)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ClapError(f"{source}: two videos would be called '{twice[0]}'; rename one")
    unknown = sorted(truth.keys() - names.keys())
    if unknown:
        raise ClapError(f"{source / TRUTH}: has truth for '{unknown[0]}', but no site has this video; correct the name")
    if all(video.split == "test" for video in videos):
        raise ClapError(f"{source}: all videos are for testing, none for training; {LAYOUT}")
    return videos


def _pass_over_strays(source: Path, extractor: Extractor, pass_over: PassOver) -> None:
    """Report videos outside the sites' folders."""
    names = sorted(path.name for path in source.iterdir() if path.is_file() and not path.name.startswith("."))
    outward = {name for name in names if leads_out(source / name, source)}
    found = extractor.sort_folder(source, names, outward, subfolders=True)
    for path in [*found.inputs, *(left.path for left in found.left_out if left.doubtful)]:
        pass_over(path, harmless(f"{path}: is not in a site's folder, so it is not read; move it into one"))


def read_truth(folder: Path) -> dict[str, np.ndarray]:
    """Video -> uint8 per frame from the folder's ``frame_labels.npz``, empty where there is none."""
    file = folder / TRUTH
    return read_frame_labels(file) if file.exists() else {}


def stories(videos: Sequence[DemoVideo]) -> dict[str, str]:
    """Site -> description, in the order of the videos; empty texts for own videos."""
    sites = dict.fromkeys(video.site for video in videos)
    rendered = all(video.anomaly is not None for video in videos)
    return {site: SITES[site].story if rendered else "" for site in sites}


def link_videos(videos: Sequence[DemoVideo]) -> None:
    """Create a symbolic link to each source at its path."""
    for video in videos:
        if not (video.path.is_symlink() and video.path.resolve() == video.source):
            video.path.parent.mkdir(parents=True, exist_ok=True)
            video.path.unlink(missing_ok=True)
            video.path.symlink_to(video.source)


def _file_name(name: str, path: Path) -> str:
    """A file name from which extractors derive the video name ``name``."""
    named = name + (path.suffix if path.is_file() else "")
    return named if video_name(named) == name else name


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other.resolve()
