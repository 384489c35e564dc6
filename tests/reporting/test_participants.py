from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.reporting.palette import PALETTE
from clap_vad.reporting.participants import participant_bars, picture_form

SVG = "{http://www.w3.org/2000/svg}"
KINDS = {"normal": PALETTE["curve"], "anomalous": PALETTE["truth"], "unlabelled": PALETTE["rule"]}


def rows(*counts, names=None):
    ids = names or [f"participant-{number:02d}" for number in range(1, len(counts) + 1)]
    keys = ("normal", "anomalous", "unlabelled")
    return [
        {"id": name, "videos": sum(held), **dict(zip(keys, held, strict=True))}
        for name, held in zip(ids, counts, strict=True)
    ]


def some(participants, seed=0):
    return rows(*np.random.default_rng(seed).integers(1, 90, (participants, 3)).tolist())


def texts(svg):
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def bars(svg):
    """Bars of each kind from the top: left end, width, centre in points. The legend's patches are not clipped."""
    found = {kind: [] for kind in KINDS}
    for path in ElementTree.fromstring(svg).iter(f"{SVG}path"):
        for kind, color in KINDS.items():
            if f"fill: {color}" in path.get("style", "") and path.get("clip-path"):
                corners = np.array(re.findall(r"-?[0-9.]+", path.get("d")), dtype=float).reshape(-1, 2)
                (left, top), (right, bottom) = corners.min(axis=0), corners.max(axis=0)
                found[kind].append((left, right - left, (top + bottom) / 2))
    return {kind: np.array(sorted(entries, key=lambda bar: bar[2])) for kind, entries in found.items() if entries}


@pytest.mark.parametrize("participants", [1, 2, 13, 50])
def test_bars_are_as_wide_as_the_counts_and_stacked(participants):
    given = some(participants)
    drawn = bars(participant_bars(given))
    unit = sum(drawn[kind][0, 1] for kind in KINDS) / given[0]["videos"]
    reached = np.full(participants, drawn["normal"][0, 0])
    for kind in KINDS:
        assert drawn[kind][:, 1] / unit == pytest.approx([row[kind] for row in given], abs=0.01)
        assert drawn[kind][:, 0] == pytest.approx(reached, abs=0.01)
        reached = reached + drawn[kind][:, 1]


def test_ids_and_totals_stand_at_their_bars_without_overlap():
    given = some(50)
    svg = participant_bars(given, title="dirichlet-50")
    found = [
        ("".join(element.itertext()), float(element.get("x")), float(element.get("y")))
        for element in ElementTree.fromstring(svg).iter(f"{SVG}text")
    ]
    assert {"dirichlet-50", "training videos", *KINDS} <= {text for text, _, _ in found}
    drawn = bars(svg)
    assert np.diff(drawn["normal"][:, 2]).min() > 8 * 1.3  # type of 8 points, and room
    for row, (left, _, centre), (start, width, _) in zip(given, drawn["normal"], drawn["unlabelled"], strict=True):
        line = sorted((x, text) for text, x, y in found if 0 < y - centre < 6)  # baselines lie below the middle
        assert [text for _, text in line] == [row["id"], str(row["videos"])]
        assert line[0][0] < left and 0 < line[1][0] - (start + width) < 6


def test_only_kinds_that_occur_are_in_the_legend():
    labelled = texts(participant_bars(rows((3, 1, 0), (2, 0, 0))))
    assert {"normal", "anomalous"} <= set(labelled) and "unlabelled" not in labelled
    bare = texts(participant_bars(rows((0, 0, 3), (0, 0, 2))))
    assert "unlabelled" in bare and "normal" not in bare
    assert texts(participant_bars(rows((0, 0, 0))))


@pytest.mark.filterwarnings("error")
def test_long_and_odd_names_are_shown_whole_at_their_ends():
    names = ["$5 and $6", "_hidden", "<b>&", "north entrance of the very large hall 01", "監視カメラ"]
    found = [
        text.replace("\u200b", "") for text in texts(participant_bars(rows(*[(2, 1, 0)] * 5, names=names), title="$x$"))
    ]
    assert {*names[:3], names[4], "$x$", "north entrance …y large hall 01"} <= set(found)


@pytest.mark.parametrize("name", ["a", "WWWWWWWWWWWWWWWWWWWWWWWWWWWWWWW", "監視カメラ監視カメラ監視カメラ監視カメラ"])
def test_nothing_is_clipped_at_the_edges(name):
    png = participant_bars(rows((90_000, 9_000, 999), (1, 1, 1), names=[name, "b"]), form="png")
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    edges = [picture[:, :4], picture[:, -4:], picture[:4], picture[-4:]]
    assert all((edge == 255).all() for edge in edges)
    assert picture.shape[1] == 2100  # 7 inches


def test_a_png_shows_the_colours_in_proportion():
    given = some(20)
    picture = cv2.imdecode(np.frombuffer(participant_bars(given, form="png"), np.uint8), cv2.IMREAD_COLOR)
    areas = []
    for color in KINDS.values():
        bgr = [int(color[place : place + 2], 16) for place in (5, 3, 1)]
        areas.append(np.count_nonzero((picture == bgr).all(axis=2)))
    expected = np.array([sum(row[kind] for row in given) for kind in KINDS])
    assert np.array(areas) / sum(areas) == pytest.approx(expected / expected.sum(), abs=0.01)


def test_kinds_differ_in_brightness_too():
    grey = sorted(
        float(np.dot([0.299, 0.587, 0.114], [int(c[place : place + 2], 16) for place in (1, 3, 5)]))
        for c in KINDS.values()
    )
    assert min(np.diff(grey)) > 35


@pytest.mark.parametrize("form", ["svg", "png"])
def test_equal_rows_give_equal_bytes(form):
    assert participant_bars(some(9), form=form) == participant_bars(some(9), form=form)
    assert participant_bars(some(9), form=form) != participant_bars(some(9, seed=1), form=form)


def test_the_suffix_decides_the_form():
    assert [picture_form(Path(name)) for name in ("a.svg", "b.PNG", "c.d.png")] == ["svg", "png", "png"]
    for name in ("a.pdf", "svg", "a.svg.gz", "a."):
        with pytest.raises(ClapError, match=r"ends with \.svg or \.png"):
            picture_form(Path(name))
