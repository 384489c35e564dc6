from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import cv2
import numpy as np
import pytest

from clap_vad.reporting.alarms import QUANTITIES, _line, alarm_curves

SVG = "{http://www.w3.org/2000/svg}"


def result(seed: int, events: int = 3) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    points = 30
    recall = np.sort(random.integers(0, events + 1, points)) / events if events else [None] * points
    curve = {
        "threshold": np.sort(random.random(points))[::-1].tolist(),
        "false_alarms_per_hour": np.abs(np.cumsum(random.integers(-1, 4, points))).astype(float).tolist(),
        "recall": list(recall),
        "latency_median": [value and 9 * (1 - value) for value in recall],
    }
    return {"hours": 0.5, "events": events, "curve": curve}


def report(scenes: list[str]) -> dict[str, Any]:
    return {**result(0), "per_scene": {name: result(place, place % 3) for place, name in enumerate(scenes, 1)}}


def texts(svg: bytes) -> list[str]:
    return ["".join(element.itertext()) for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_scenes_with_events_are_named_after_all(quantity: str) -> None:
    found = texts(alarm_curves(report(["gate $1", "_yard", "none", "the entrance of a large hall"]), quantity))
    assert QUANTITIES[quantity] in found
    names = [text.replace("\u200b", "") for text in found[found.index("scene (events)") + 1 :]]
    assert names == ["all (3)", "gate $1 (1)", "_yard (2)", "the ent…ge hall (1)"]


def test_many_scenes_are_drawn_and_not_named() -> None:
    picture = alarm_curves(report([f"scene-{number}" for number in range(40)]), "recall")
    assert not any("scene-" in text for text in texts(picture))


def test_a_line_is_what_reading_gives_at_every_rate() -> None:
    curve = result(5)["curve"]
    places, heights = _line(curve, "recall", 0.1)
    for rate in (0.0, 0.5, 1.0, 2.0, 7.0, 30.0):
        expected = 0.0
        for false, recall in zip(curve["false_alarms_per_hour"], curve["recall"], strict=True):
            if false > rate:
                break
            expected = recall
        assert heights[np.searchsorted(places, max(rate, 0.1), side="right") - 1] == expected


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_equal_reports_give_equal_bytes_also_without_any_event(quantity: str) -> None:
    given = report(["a"]) if quantity == "recall" else {**result(1, 0), "per_scene": {}}
    assert alarm_curves(given, quantity) == alarm_curves(given, quantity)


def test_nothing_is_clipped_at_the_edges() -> None:
    png = alarm_curves(
        report(["WWWWWWWWWWWWWWWWWWWWWW"] + [f"scene-{number}" for number in range(20)]), "recall", "png"
    )
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    edges = [picture[:, :4], picture[:, -4:], picture[:4], picture[-4:]]
    assert all((edge == 255).all() for edge in edges)
