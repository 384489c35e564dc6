"""What leaves a site, what is refused, and what a restarted site remembers."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms.method import make_method
from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask
from clap_vad.federation.checkpoint import Checkpoint, RoundLog, SiteState
from clap_vad.federation.conversation import Turn
from clap_vad.federation.messages import check_message, message_bytes, schema, schemas
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation
from synthetic import make_dataset, make_plan


class Echo:
    """A site program whose reply the test chooses."""

    dim = 4
    order = (Turn(("count",), 9),)

    def __init__(self, reply):
        self.steps = {"count": (lambda payload, state: reply, "segment_count")}


def make_site(tmp_path: Path, reply) -> Site:
    return Site("camera-01", Echo(reply), SiteState(tmp_path / "state"), tmp_path)


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ({}, "are missing or not declared"),
        ({"count": 1, "video": 2}, "are missing or not declared"),
        ({"count": np.arange(3)}, r"shape \(3,\)"),
        ({"count": 1.5}, "is float64; int64 is declared"),
        ({"count": -1}, "outside"),
        ({"count": np.array("secret")}, "int64 is declared"),
    ],
)
def test_a_message_outside_its_schema_does_not_leave(tmp_path, message, complaint):
    with pytest.raises(ClapError, match=complaint):
        make_site(tmp_path, message).handle(Ask("count", reply="segment_count"))
    assert not (tmp_path / "ledger.jsonl").exists()


def test_nan_in_an_update_is_refused():
    update = {name: np.zeros([4 if n == "D" else n for n in field.shape], field.dtype)
              for name, field in schema("model_update").fields.items()}  # fmt: skip
    check_message("model_update", update, dim=4, sender="a")
    update["update.layer2.bias"][3] = np.nan
    with pytest.raises(ClapError, match=r"participant 'a'.*'update.layer2.bias' holds NaN"):
        check_message("model_update", update, dim=4, sender="a")


def test_steps_and_schemas_the_site_does_not_know_are_refused(tmp_path):
    site = make_site(tmp_path, {"count": 1})
    with pytest.raises(ClapError, match="unknown step 'features'"):
        site.handle(Ask("features", reply="segment_count"))
    with pytest.raises(ClapError, match="not with 'model_update'"):
        site.handle(Ask("count", reply="model_update"))
    with pytest.raises(ClapError, match="not declared"):
        schema("segment_scores")


def test_the_ledger_tells_what_left(tmp_path):
    site = make_site(tmp_path, {"count": 7})
    site.handle(Ask("count", reply="segment_count", payload={"round": 3}, sequence=9))
    (line,) = map(json.loads, (tmp_path / "ledger.jsonl").read_text().splitlines())
    assert (line["schema"], line["round"], line["sequence"], line["bytes"]) == ("segment_count", 3, 9, 8)
    assert line["sha256"] == hashlib.sha256(b"count" + np.int64(7).tobytes()).hexdigest()


def test_a_site_asked_again_answers_from_the_state_it_had_then(tmp_path):
    first = SiteState(tmp_path)
    first.save(0, -1, {"labels": np.array([1.0])})
    first.save(1, 0, {"labels": np.array([2.0])})
    assert first.before(2)["labels"][0] == 2
    restarted = SiteState(tmp_path)  # the coordinator never saw the answer to 1 and asks it again
    assert restarted.before(1)["labels"][0] == 1
    restarted.save(1, 0, {"labels": np.array([3.0])})
    assert SiteState(tmp_path).before(2)["labels"][0] == 3
    for number in range(2, 9):
        restarted.save(number, number - 1, {"labels": np.array([float(number)])})
    assert len(list(tmp_path.iterdir())) == 2  # only what can still be asked for is kept
    assert SiteState(tmp_path).before(8)["labels"][0] == 7


def test_a_site_that_a_question_did_not_change_writes_nothing(tmp_path):
    states = SiteState(tmp_path)
    labels = np.array([1.0])
    states.save(0, -1, {"labels": labels})
    states.save(1, 0, {"labels": labels})
    assert [f.name for f in tmp_path.iterdir()] == ["state-00000001.safetensors"]
    assert SiteState(tmp_path).before(5)["labels"][0] == 1


def test_checkpoint_keeps_scalars_and_round_log_forgets_what_will_be_run_again(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    assert checkpoint.load() == {}
    checkpoint.save({"round": np.array(3), "w": np.ones((2, 3), np.float32)})
    assert int(checkpoint.load()["round"]) == 3
    assert checkpoint.load()["w"].shape == (2, 3)
    log = RoundLog(tmp_path / "rounds.jsonl")
    for number in (1, 2, 3):
        log.append({"round": number})
    with (tmp_path / "rounds.jsonl").open("a") as handle:
        handle.write('{"round": 4, "lo')  # killed while writing
    log.rewind(2)
    assert [json.loads(x)["round"] for x in (tmp_path / "rounds.jsonl").read_text().splitlines()] == [1, 2]


@pytest.mark.parametrize("density", ["mixture", "pooled"])
def test_no_message_grows_with_segments_or_videos(tmp_path, density):
    """Two federations, one holding a third of the other's videos, send messages of equal shapes."""
    dataset = Dataset(make_dataset(tmp_path / "data", test=False))
    method = make_method("clap", {"density": density, "refine_from": 1})
    plan = make_plan(rounds=2, normalise="federated")
    shapes = []
    for share in (2, 20):
        held = {"a": dataset.train_videos[: share // 2], "b": dataset.train_videos[share // 2 : share]}
        folder = tmp_path / str(share)
        Federation(folder, dataset, held, plan, method).run()
        ledger = [json.loads(x) for x in (folder / "sites/a/ledger.jsonl").read_text().splitlines()]
        shapes.append([(line["schema"], line["shapes"]) for line in ledger])
        assert len(ledger) == 7  # moments, normaliser, Gaussian, labels, two rounds, histogram
    assert shapes[0] == shapes[1]
    declared = {s.name for s in schemas()}
    assert {name for name, _ in shapes[0]} <= declared


def test_message_bytes_counts_values():
    assert message_bytes({"a": np.zeros((2, 3), np.float32), "n": 1, "x": 0.5}) == 24 + 8 + 8
