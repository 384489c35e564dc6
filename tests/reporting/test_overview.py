from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest

from clap_vad.core.events.detection import Event
from clap_vad.reporting.overview import ListedVideo, cameras_of, overview_sections
from clap_vad.reporting.page import Link, Picture, Plots, Table, render_page
from clap_vad.reporting.palette import THEMES
from clap_vad.reporting.plot_files import save_plots
from clap_vad.reporting.video import video_section


def listed(count: int, seed: int = 0, fps: float | None = 20.0) -> list[ListedVideo]:
    """Videos of three cameras, each with up to five events."""
    rng = np.random.default_rng(seed)
    videos = []
    for number in range(count):
        frames, events = int(rng.integers(500, 5000)), []
        for start in np.sort(rng.integers(0, frames - 50, rng.integers(0, 6))).tolist():
            times = [None if fps is None else at / fps for at in (start, start + 40, start + 20)]
            events.append(Event(start, start + 40, start + 20, float(rng.random()), *times))
        highest = max([event.peak_score for event in events], default=0.05)
        camera = f"camera {number % 3}"
        seconds = frames / fps if fps else None
        videos.append(
            ListedVideo(f"clip {number}", camera, frames, fps, highest, tuple(events), f"video-{number + 1}", seconds)
        )
    return videos


def section(sections, kind, title):
    (found,) = [one for one in sections if isinstance(one, kind) and title in one.title]
    return found


def shown(cell) -> str:
    return cell.text if isinstance(cell, Link) else cell


@pytest.mark.parametrize("count", [2, 40])
def test_the_table_by_camera_counts_as_a_slow_loop_does(count):
    videos = listed(count)
    rows = {
        shown(row[0]): [shown(cell) for cell in row[1:]] for row in section(overview_sections(videos), Table, "By").rows
    }
    assert len(rows) == min(count, 3) + 1
    for camera, row in rows.items():
        number, events, seconds, highest, last = 0, 0, 0.0, 0.0, "none"
        for video in videos:
            if camera in ("all", video.camera):
                number, events, seconds = number + 1, events + len(video.events), seconds + video.frames / 20
                highest = max(highest, video.highest)
                for event in video.events:
                    last = f"{video.video}, {int(event.start_frame / 1200):02d}:{event.start_frame / 20 % 60:04.1f}"
        hours = f"{seconds / 3600:.2f}" if seconds >= 3600 else f"{seconds / 3600:.3f}"
        wanted = [str(number), hours, str(events), f"{events / seconds * 3600:.1f}", f"{highest:.3f}"]
        assert row == [*wanted, "" if camera == "all" else last]


def test_the_highest_events_come_first_and_the_rest_is_counted():
    videos = listed(40)
    table = section(overview_sections(videos), Table, "highest")
    every = sorted((event.peak_score for video in videos for event in video.events), reverse=True)
    assert [row[-1] for row in table.rows] == [f"{score:.3f}" for score in every[:50]]
    assert f"The 50 highest of {len(every)}; {len(every) - 50} more" in table.note


def test_one_video_needs_no_overview_and_many_show_the_highest():
    assert overview_sections(listed(1)) == []
    (plot,) = section(overview_sections(listed(300)), Plots, "over time").plots
    videos = sorted(listed(300), key=lambda video: -video.highest)
    targets = re.findall(rb'href="#([^"]*)"', plot.svg.replace(b'href="#m', b"").replace(b'href="#h', b""))
    assert [target for target in targets if target.startswith(b"video-")] == [v.anchor.encode() for v in videos[:24]]
    assert len(plot.svg) < 150_000


def test_an_unknown_frame_rate_gives_frames_and_no_hours():
    sections = overview_sections([*listed(2), *listed(1, fps=None)])
    rows = section(sections, Table, "By").rows
    assert ("–", "–") in [(row[2], row[4]) for row in rows]
    (plot,) = section(sections, Plots, "over time").plots
    assert "frame" in [
        "".join(e.itertext()) for e in ElementTree.fromstring(plot.svg).iter("{http://www.w3.org/2000/svg}text")
    ]


def test_a_camera_is_the_folder_where_there_are_several():
    assert cameras_of([Path("a/1.mp4"), Path("a/2.mp4")]) == ["all videos"] * 2
    assert cameras_of([Path("a/1.mp4"), Path("b/2.mp4")], "gate") == ["a", "b"]
    assert cameras_of([Path("a/c/1.mp4"), Path("b/c/2.mp4"), Path("3.mp4")])[:2] == ["a/c", "b/c"]


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


@pytest.fixture(scope="module")
def page() -> Page:
    sections = []
    for number, video in enumerate(listed(5)):
        rates = {"frames": video.frames, "fps": video.fps, "segment_frames": 16, "threshold": 0.5}
        scores = np.linspace(0, 1, -(-video.frames // 16))
        one = video_section(video.video, scores, events=video.events, **rates)
        pictures = (Picture(b"\xff\xd8", "x", "what is seen"),)
        sections.append(replace(one, anchor=video.anchor, folded=number == 2, pictures=pictures))
    return Page(render_page("Scored videos", "", [*overview_sections(listed(5)), *sections]))


def test_every_picture_is_described_and_every_link_leads_somewhere(page):
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    links = [attrs["href"] for tag, attrs in page.tags if tag == "a"]
    assert len(links) >= 10
    assert all(link.startswith("#") and link[1:] in ids for link in links)
    assert all(attrs["alt"] for tag, attrs in page.tags if tag == "img")
    pictures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(pictures) == 6 and all(attrs["aria-label"] for attrs in pictures)
    assert [attrs["role"] for attrs in pictures] == ["group"] + ["img"] * 5
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in page.tags if tag == "th")
    assert all("tabindex" in attrs for tag, attrs in page.tags if attrs.get("class") == "scroll")
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1 and set(headings[1:]) == {2}


def test_what_a_plot_refers_to_is_there(page):
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    used = {
        name for _, attrs in page.tags for value in attrs.values() for name in re.findall(r"url\(#(.*?)\)", value or "")
    }
    used |= {attrs["href"][1:] for tag, attrs in page.tags if tag == "use"}
    assert any(name.startswith("h") for name in used)  # hatching
    assert used <= ids


def luminance(code: str) -> float:
    """Relative luminance, WCAG 2.2."""
    parts = [int(code[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", THEMES)
def test_text_and_lines_stand_out(theme):
    colours = THEMES[theme]

    def contrast(one: str, other: str) -> float:
        low, high = sorted((luminance(colours[one]), luminance(colours[other])))
        return (high + 0.05) / (low + 0.05)

    for ground in ("paper", "panel"):
        for text in ("ink", "soft"):
            assert contrast(text, ground) >= 4.5, (theme, text, ground)
    assert contrast("curve", "paper") >= 4.5  # links too
    assert contrast("limit", "paper") >= 3
    assert contrast("ink", "event") >= 3  # the outline of a mark on its face
    if theme == "dark":
        assert contrast("paper", "limit") >= 4.5  # label of an event on an annotated video


def test_plots_are_saved_for_papers(tmp_path):
    scored = video_section("a/b", np.ones(3), frames=48, fps=None, segment_frames=16, threshold=0.5, events=())
    files = save_plots(tmp_path / "plots", [*overview_sections(listed(2)), scored, scored])
    names = ["overview", "scores-a_b", "scores-a_b-2"]
    assert sorted(files) == sorted((tmp_path / "plots").iterdir())
    assert {file.name for file in files} == {f"{name}.{form}" for name in names for form in ("png", "svg")}
    for name in names:
        data = (tmp_path / "plots" / f"{name}.png").read_bytes()
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture.shape[1] == 3000  # 10 inches
        place = data.index(b"pHYs") + 4
        assert int.from_bytes(data[place : place + 4], "big") == pytest.approx(300 / 0.0254, abs=1)  # dots a metre
        assert ElementTree.parse(tmp_path / "plots" / f"{name}.svg").getroot().tag.endswith("svg")
