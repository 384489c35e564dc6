"""A spy on the wire: no message of any method grows with a site's segments or videos, and the ledger misses none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shrunk import shrink_generator

from clap_vad.algorithms.method import METHODS, make_method
from clap_vad.algorithms.private_coordinator import STATISTICS
from clap_vad.audit.replay import RecordingEngine, Seen
from clap_vad.core.statistics.accounting import Terms, calibrated
from clap_vad.datasets.dataset import Dataset
from clap_vad.datasets.partition import ensure_participants
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.federation.ask import State, Steps
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.messages import message_bytes, schema
from clap_vad.workflows.federate import Federation
from synthetic import comet_terms, make_dataset, make_plan

TERMS = calibrated(8.0, 1e-5, clip=1.0, sampling=0.5, lr=0.1, statistics=STATISTICS, rounds=2, seed=0)
RUNS = {
    "clap local paper": ("clap", {"segregation": "local"}, "fedavg", False),
    "clap local pooled": ("clap", {"segregation": "local", "density": "pooled"}, "fedavg", False),
    "clap local pooled, secure": ("clap", {"segregation": "local", "density": "pooled"}, "fedavg", True),
    "clap federated": ("clap", {"segregation": "federated"}, "fedavg", False),
    "clap federated, secure": ("clap", {"segregation": "federated"}, "fedavg", True),
    "c2fpl": ("c2fpl", {}, "fedavg", False),
    "c2fpl, secure": ("c2fpl", {}, "fedavg", True),
    "c2fpl scaffold": ("c2fpl", {}, "scaffold", False),
    "c2fpl scaffold, secure": ("c2fpl", {}, "scaffold", True),
    "gcl": ("gcl", {}, "fedavg", False),
    "gcl, secure": ("gcl", {}, "fedavg", True),
    "c2fpl scaffold, int8": ("c2fpl", {}, "scaffold", False, "int8"),
    "c2fpl scaffold, secure, int8": ("c2fpl", {}, "scaffold", True, "int8"),
    "gcl, int8": ("gcl", {}, "fedavg", False, "int8"),
    "gcl, secure, int8": ("gcl", {}, "fedavg", True, "int8"),
    "comet": ("comet", {}, "fedavg", False, "float32", comet_terms(epsilon=8.0)),
    "comet, secure": ("comet", {}, "fedavg", True, "float32", comet_terms(epsilon=8.0)),
    "comet for videos": ("comet", {}, "fedavg", False, "float32", comet_terms(epsilon=8.0, unit="video")),
    "comet without noise": ("comet", {}, "fedavg", False, "float32", comet_terms()),
    "clap private": ("clap", {"segregation": "federated"}, "fedavg", False, "float32", TERMS),
    "clap private, secure": ("clap", {"segregation": "federated"}, "fedavg", True, "float32", TERMS),
}


def spied(
    folder: Path,
    videos: int,
    method: str,
    options: dict,
    strategy: str,
    secure: bool,
    encoding: str = "float32",
    terms: Terms | None = None,
) -> list[Seen]:
    """Everything that left the sites of a run over so many videos a site; checked against their ledgers."""
    dataset = Dataset(make_dataset(folder / "dataset", videos=videos))
    held = ensure_participants(dataset, "scene", 0, None).videos
    plan = make_plan(strategy, normalise="federated", secure=secure, update_encoding=encoding, privacy=terms)
    made = make_method(method, options)
    federation = Federation(folder / "run", dataset, held, plan, made)
    seen: list[Seen] = []
    engine = RecordingEngine(InProcessEngine(federation.sites()), seen)

    def steps(state: State) -> Steps:
        return made.coordinate(plan, state, lambda record: None)

    coordinate(steps, engine, Checkpoint(folder / "checkpoints"), plan.dim, secure=secure, update_encoding=encoding)
    for participant in held:
        ledger = (folder / "run" / "sites" / participant / "ledger.jsonl").read_text().splitlines()
        if terms is not None:
            protected = [json.loads(line) for line in ledger]
            assert all("noised" in line["protection"] or schema(line["schema"]).bare for line in protected)
            released = made.private_statistics() + made.private_rounds(plan.spec.rounds)
            assert sum("noised" in line["protection"] for line in protected) == released
        sent = [message_bytes(r.message) for each in seen for r in each.replies if r.participant == participant]
        assert [json.loads(line)["bytes"] for line in ledger] == sent
    return seen


def shapes(seen: list[Seen]) -> set[tuple]:
    """Step, phase, entry, shape and type of everything."""
    return {
        (each.ask.step, each.ask.secure and each.ask.secure.phase, name, np.shape(value), str(np.asarray(value).dtype))
        for each in seen
        for reply in each.replies
        for name, value in reply.message.items()
    }


@pytest.mark.parametrize("run", RUNS)
def test_no_message_grows_with_segments_or_videos(tmp_path, monkeypatch, run):
    shrink_generator(monkeypatch)
    few, many = (spied(tmp_path / str(videos), videos, *RUNS[run]) for videos in (4, 7))
    assert shapes(few) == shapes(many)
    if "int8" in RUNS[run] and not RUNS[run][3]:
        assert {kind for step, _, name, _, kind in shapes(many) if name.startswith("update.")} == {"float32", "int8"}
    if RUNS[run][3]:  # what depends on videos comes masked, or it is a plain count of nothing
        bare = {each.ask.step for each in many if each.ask.secure is None}
        assert all(not reply.message for each in many if each.ask.secure is None for reply in each.replies), bare


def test_no_message_holds_a_feature_vector_or_a_name(tmp_path):
    seen = spied(tmp_path, 4, "c2fpl", {}, "fedavg", False)
    sent = b"".join(np.asarray(v).tobytes() for each in seen for r in each.replies for v in r.message.values())
    dataset = Dataset(tmp_path / "dataset")
    for video in dataset.train_videos:
        store, entry = dataset.locate(video)
        crops = np.asarray(store.features[entry.start : entry.stop]).reshape(-1, store.dim)
        assert not any(crop.tobytes() in sent or crop.astype(np.float64).tobytes() in sent for crop in crops)
        assert video.encode() not in sent


def test_every_method_is_spied_upon():
    assert set(METHODS.names()) == {method for method, *_ in RUNS.values()}
