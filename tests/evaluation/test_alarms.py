"""Alarms on a dataset, against the numbers worked out by hand and every threshold tried on its own."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from clap_vad.datasets.dataset import Dataset, VideoRecord
from clap_vad.errors import ClapError
from clap_vad.evaluation.alarms import RATES, evaluate_alarms

MakeDataset = Callable[..., Dataset]

RECORDS = [
    VideoRecord("train", "train"),
    VideoRecord("gate-1", "test", "gate", label=1),
    VideoRecord("gate-2", "test", "gate", label=0),
    VideoRecord("yard-1", "test", "yard", label=1),
    VideoRecord("unknown", "test", "yard", label=1),
    VideoRecord("bare", "test", "", label=0),
]
SEGMENTS = {"train": 2, "gate-1": 40, "gate-2": 40, "yard-1": 60, "unknown": 3, "bare": 50}
CUT = 57 * 16 + 4  # frames of truth of yard-1: its last two segments are beyond

KEYS = ("false_alarms_per_hour", "recall", "latency_median", "active_share")
NOTHING = {"threshold": None, **dict(zip(KEYS, (0.0, 0.0, None, 0.0), strict=True))}


def truth() -> dict[str, np.ndarray]:
    gate, yard = np.zeros(640, np.uint8), np.zeros(CUT, np.uint8)
    gate[100:200] = 1
    gate[210:220] = 1  # less than a second later: the same event
    gate[500:510] = 1
    yard[800:] = 1
    return {"gate-1": gate, "yard-1": yard}


def scores(seed: int = 0) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {video: random.random(size).astype(np.float32).round(2) ** 3 for video, size in SEGMENTS.items()}


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    features = {video: np.ones((size, 1, 2), np.float32) for video, size in SEGMENTS.items()}
    return make_dataset(RECORDS, features, truth=truth())


def test_a_result_worked_out_by_hand(dataset: Dataset) -> None:
    own = {video: np.zeros(size, np.float32) for video, size in SEGMENTS.items()}
    own["gate-1"][[2, 8, 38]] = 0.9  # false; 1.76 s after frame 100 and the same alarm; false, 19 s later
    own["yard-1"][[57, 58]] = 0.9, 1.0  # at the end of the truth; beyond it
    own["bare"][0] = 0.9
    found = evaluate_alarms(dataset, own, 0.5)
    hours = (640 + 640 + CUT + 800) / 25 / 3600
    assert (found["videos"], found["videos_without_truth"]) == (4, ["unknown"])
    assert found["hours"] == pytest.approx(hours)
    assert (found["alarms"], found["false_alarms"], found["events"], found["detected"]) == (4, 2, 3, 2)
    assert found["false_alarms_per_hour"] == pytest.approx(2 / hours)
    assert found["recall"] == pytest.approx(2 / 3)
    latencies = [(9 * 16 - 100) / 25, (CUT - 800) / 25]
    assert found["latency_median"] == pytest.approx(np.mean(latencies))
    assert found["latency_p90"] == pytest.approx(latencies[0] + 0.9 * (latencies[1] - latencies[0]))
    assert found["active_share"] == pytest.approx((7 * 16 + 16 + 4 + 16) / (640 + 640 + CUT + 800))
    assert list(found["per_scene"]) == ["gate", "yard"]
    gate, yard = found["per_scene"].values()
    assert (gate["alarms"], gate["false_alarms"], gate["events"], gate["detected"]) == (2, 1, 2, 1)
    assert (yard["alarms"], yard["false_alarms"], yard["recall"]) == (1, 0, 1.0)
    assert gate["at"]["1"] == NOTHING
    # an alarm that never ends is none that is false where the event is; its share of the time tells
    assert yard["at"]["1"] == {
        **{"threshold": 0.0, "false_alarms_per_hour": 0.0, "recall": 1.0, "active_share": pytest.approx(1.0)},
        "latency_median": pytest.approx(0.64),
    }
    assert [yard["curve"][key][0] for key in ("recall", "latency_median")] == [1.0, pytest.approx(latencies[1])]
    json.dumps(found, allow_nan=False)


def test_the_curve_is_every_threshold_on_its_own(dataset: Dataset) -> None:
    found = evaluate_alarms(dataset, scores(), 0.5)
    judged = {v: s[: -(-CUT // 16)] if v == "yard-1" else s for v, s in scores().items()}
    levels = np.unique(np.concatenate([judged[v] for v in ("gate-1", "gate-2", "yard-1", "bare")]))[::-1]
    curve = found["curve"]
    assert curve["threshold"] == levels.tolist()  # all: few differ here
    for place in range(0, len(levels), 17):
        alone = evaluate_alarms(dataset, scores(), curve["threshold"][place])
        assert [curve[key][place] for key in KEYS] == [alone[key] for key in KEYS]


def test_a_curve_is_read_where_lowering_the_threshold_first_exceeds_the_rate(dataset: Dataset) -> None:
    for part in (found := evaluate_alarms(dataset, scores(), 0.5), *found["per_scene"].values()):
        curve = part["curve"]
        for rate in RATES:
            expected = NOTHING
            for values in zip(*curve.values(), strict=True):
                point = dict(zip(curve, values, strict=True))
                if point["false_alarms_per_hour"] > rate:
                    break
                expected = point
            assert part["at"][str(rate)] == expected


def test_every_scene_may_have_its_own_threshold(dataset: Dataset) -> None:
    own = {"gate": 0.2, "yard": 0.6, "": 0.4}
    found = evaluate_alarms(dataset, scores(), own)
    for scene in ("gate", "yard"):
        assert found["per_scene"][scene] == evaluate_alarms(dataset, scores(), own[scene])["per_scene"][scene]
    # moved by no step, the thresholds are those given
    steps = np.array(found["curve"]["step"])
    places = np.flatnonzero(steps >= 0)
    assert found["curve"]["recall"][places[-1]] == found["recall"]
    assert evaluate_alarms(dataset, scores(), dict.fromkeys(own, 0.5)) == evaluate_alarms(dataset, scores(), 0.5)


def test_what_truth_does_not_define_is_null(make_dataset: MakeDataset) -> None:
    quiet = make_dataset([VideoRecord("v", "test", "gate", label=0)], {"v": np.ones((2, 1, 1), np.float32)})
    found = evaluate_alarms(quiet, {"v": np.array([0.1, 0.9])}, 0.5)
    assert (found["alarms"], found["false_alarms"], found["events"], found["recall"]) == (1, 1, 0, None)
    assert found["at"]["1"] == {**NOTHING, "recall": None}
    json.dumps(found, allow_nan=False)


def test_bad_input_is_named(dataset: Dataset, make_dataset: MakeDataset) -> None:
    with pytest.raises(ClapError, match="no threshold for scene 'yard'"):
        evaluate_alarms(dataset, scores(), {"gate": 0.5, "": 0.5})
    with pytest.raises(ClapError, match="run: test video 'bare' has no scores"):
        evaluate_alarms(dataset, {v: s for v, s in scores().items() if v != "bare"}, 0.5, "run")
    untold = make_dataset([VideoRecord("v", "test")], {"v": np.ones((2, 1, 1), np.float32)}, folder="untold")
    with pytest.raises(ClapError, match="no test video has frame truth"):
        evaluate_alarms(untold, {"v": np.zeros(2)}, 0.5)
