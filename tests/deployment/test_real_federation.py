"""Three sites and a coordinator as real processes over real mutual TLS: what a run gives, and what faults do to it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from waiting import LIMIT, until

from clap_vad.datasets.dataset import Dataset
from clap_vad.deployment.flare_server import FlareServer
from clap_vad.deployment.local import LocalFederation, local_federation
from clap_vad.deployment.run_files import RunFiles
from clap_vad.deployment.train import resume_deployed, train_deployed
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.federation.checkpoint import Checkpoint, read_rounds
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Quorum
from clap_vad.federation.messages import schema
from clap_vad.persistence import write_json
from clap_vad.specification.reading import read_specification
from clap_vad.specification.run import Privacy, RunOptions
from clap_vad.workflows.opening import open_run
from clap_vad.workflows.resolution import specify
from clap_vad.workflows.train import train
from synthetic import make_dataset

pytestmark = pytest.mark.federation

SITES = ("participant-01", "participant-02", "participant-03")
OPTIONS = {"local_epochs": 1, "refine_from": 2}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("whole") / "data")


@pytest.fixture(scope="module")
def federation(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    with local_federation(dataset, tmp_path_factory.mktemp("federation") / "local", "random-3") as running:
        yield running


class Background(threading.Thread):
    """A deployed run that a test watches."""

    def __init__(self, federation: LocalFederation, run: Path, **choices: Any) -> None:
        super().__init__(daemon=True)
        self._call = {"coordinator": federation.coordinator, "sites": SITES, **choices}
        self.folder = run
        self.metrics: dict[str, Any] = {}
        self.start()

    def run(self) -> None:
        self.metrics = train_deployed(self.folder, **self._call)

    def answered(self) -> list[list[str]]:
        """Who answered in each round so far."""
        return [line["answered"] for line in read_rounds(self.folder / "rounds.jsonl")]

    def wait_for_rounds(self, number: int) -> None:
        def done() -> bool:
            assert self.is_alive(), RunFiles(self.folder).job_status()
            return len(self.answered()) >= number

        until(done, f"{number} rounds")


def replayed(dataset: Path, run: Path, folder: Path) -> dict[str, np.ndarray]:
    """Weights that the in-process engine gives when the same sites take part in the same rounds."""
    rounds = {line["round"]: tuple(line["answered"]) for line in read_rounds(run / "rounds.jsonl")}
    config = read_specification(run)
    choices = {"method": config.method, "supervision": config.supervision, "strategy": config.strategy}
    numbers = {"rounds": config.rounds, "seed": config.seed, "threads": 0, "normalise": "auto"}
    options = {**config.options, **config.strategy_options}
    opened = open_run(
        specify(
            Dataset(dataset),
            RunOptions(setting="collaborative", protocol="random-3", options=options, **choices, **numbers),
        )
    )
    federation = opened.federation(folder, opened.participants)

    class Engine(InProcessEngine):
        def deliver(self, ask, check):
            if ask.step == "train":
                ask = type(ask)(**{**vars(ask), "targets": rounds[int(ask.payload["round"])]})
            return super().deliver(ask, check)

    state = coordinate(
        lambda state: opened.method.coordinate(opened.plan, state, lambda record: None),
        Engine(federation.sites()),
        Checkpoint(folder / "checkpoints"),
        opened.plan.dim,
        Quorum(sites=1),
    )
    return {name: value for name, value in state.items() if name.startswith("weights.")}


def test_a_site_that_is_killed_and_comes_back_trains_again_and_the_model_is_that_of_one_process(
    federation, dataset, tmp_path
):
    rounds = 150
    run = Background(federation, tmp_path / "run", dataset=dataset, rounds=rounds, min_sites=2, deadline=20, **OPTIONS)
    run.wait_for_rounds(5)
    for pid in federation.processes("participant-02").values():
        os.kill(pid, signal.SIGKILL)
    federation.start(["participant-02"])
    # A job is ended for a site that has come back after 20 s at the earliest: until then rounds are few.
    until(lambda: "participant-02" not in run.answered()[-1], "a round without it")
    _slowly_until(federation, run, lambda: "participant-02" in run.answered()[-1])
    run.join(5 * LIMIT)
    lines = read_rounds(tmp_path / "run" / "rounds.jsonl")
    assert [line["round"] for line in lines] == list(range(1, rounds + 1))
    without = [line["round"] for line in lines if "participant-02" not in line["answered"]]
    assert without and "participant-02" in lines[-1]["answered"]
    assert max(without) - min(without) + 1 == len(without)
    weights = replayed(dataset, tmp_path / "run", tmp_path / "replayed")
    final = Checkpoint(tmp_path / "run" / "checkpoints").load()
    assert weights and all(np.array_equal(final[name], value) for name, value in weights.items())
    assert run.metrics["frame_auc"] is not None and run.metrics["engine"] == "flare"


def _slowly_until(federation: LocalFederation, run: Background, condition: Callable[[], bool]) -> None:
    """Freeze a site at work for some seconds in every round, so that few rounds go by until the condition holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert run.is_alive() and time.monotonic() < end, RunFiles(run.folder).job_status()
        rounds, job = len(run.answered()), federation.processes("participant-03").get("job")
        if job is not None:
            with contextlib.suppress(ProcessLookupError):  # the job has just ended
                os.kill(job, signal.SIGSTOP)
                time.sleep(2)
                os.kill(job, signal.SIGCONT)
        until(lambda: len(run.answered()) > rounds or not run.is_alive(), "the next round")  # noqa: B023


def test_without_faults_the_model_is_that_of_one_process_and_sites_can_judge_it_at_home(federation, dataset, tmp_path):
    deployed = train_deployed(
        tmp_path / "run", coordinator=federation.coordinator, sites=SITES, method="c2fpl", strategy="scaffold", rounds=3
    )
    alone = train(dataset, tmp_path / "alone", method="c2fpl", strategy="scaffold", rounds=3, protocol="random-3")
    assert deployed["model_sha256"] == alone["model_sha256"]
    assert deployed["frame_auc"] is None and "no normal and no abnormal test frames" in deployed["undefined"]
    home = federation.sites["participant-01"]
    (ledger,) = (home / "runs").glob(f"{RunFiles(tmp_path / 'run').deployment()['id']}/ledger.jsonl")
    sent = [json.loads(line)["schema"] for line in ledger.read_text().splitlines()]
    assert sent[:2] == ["features_description", "acknowledgement"] and sent[-1] == "evaluation_histogram"
    assert sent.count("scaffold_update") == 3


def test_the_default_method_without_noise_is_that_of_one_process_and_with_noise_it_is_marked_as_such(
    federation, dataset, tmp_path
):
    """Under masks; without them sites noise the same numbers, see test_site_executor.py."""
    exact, choices = Privacy(math.inf, unit="crop"), {"rounds": 2, "secure_aggregation": True}
    over = {"coordinator": federation.coordinator, "sites": SITES, "dataset": dataset, **choices}
    deployed = train_deployed(tmp_path / "exact", privacy=exact, **over)
    alone = train(dataset, tmp_path / "alone", protocol="random-3", privacy=exact, **choices)
    assert deployed["model_sha256"] == alone["model_sha256"]
    noisy = train_deployed(tmp_path / "noisy", **over)  # that each site draws its own: see test_site_executor.py
    assert noisy["model_sha256"] != deployed["model_sha256"]
    terms = {name: noisy["privacy"][name] for name in ("unit", "promised", "delta", "seeded")}
    assert terms == {"unit": "crop", "promised": 8.0, "delta": 1e-6, "seeded": False}
    for site in SITES:
        home = federation.sites[site]
        (ledger,) = (home / "runs").glob(f"{RunFiles(tmp_path / 'noisy').deployment()['id']}/ledger.jsonl")
        sent = [json.loads(line) for line in ledger.read_text().splitlines()]
        protection = "noised, masked"
        assert [line["schema"] for line in sent if line["protection"] == protection] == [
            "row_sizes",
            "row_moments",
            *["row_density"] * 3,
            "row_scales",
            "segment_peaks",
        ]
        assert all(line["protection"] == protection or schema(line["schema"]).bare for line in sent)


def test_under_masks_the_model_is_that_of_one_process_under_masks(federation, dataset, tmp_path):
    """Also where updates are encoded: the first round is in 32 bits, the others are in 8."""
    choices = {"density": "pooled", "rounds": 3, "secure_aggregation": True, "update_encoding": "int8"}
    deployed = train_deployed(tmp_path / "run", coordinator=federation.coordinator, sites=SITES, **choices)
    alone = train(dataset, tmp_path / "alone", protocol="random-3", **choices)
    assert deployed["model_sha256"] == alone["model_sha256"]
    assert deployed["bytes_up_per_round"] == alone["bytes_up_per_round"] > 0
    home = federation.sites["participant-02"]
    (ledger,) = (home / "runs").glob(f"{RunFiles(tmp_path / 'run').deployment()['id']}/ledger.jsonl")
    sent = [json.loads(line) for line in ledger.read_text().splitlines()]
    updates = [line["schema"] for line in sent if line["schema"].startswith("model_update")]
    assert updates == ["model_update", "model_update_int8", "model_update_int8"]
    assert {line["schema"] for line in sent if line["protection"] == "masked"} >= {"model_update", "normal_moments"}
    assert all(line["protection"] == "masked" or schema(line["schema"]).bare for line in sent)


def test_what_a_sites_policy_forbids_stops_the_run_with_a_sentence_and_it_goes_on_when_permitted(federation, tmp_path):
    policy = federation.sites["participant-03"] / "policy.json"
    before = json.loads(policy.read_text())
    allowed = [name for name in before["schemas"] if name != "model_update"]
    write_json(policy, {**before, "schemas": allowed})
    choices = {"coordinator": federation.coordinator, "sites": SITES, "method": "clap", "rounds": 2}
    with pytest.raises(ClapError, match=r"participant-03: refused there: schema 'model_update' is outside"):
        train_deployed(tmp_path / "run", **choices)
    log = federation.sites["participant-03"] / "log.jsonl"
    refused = [json.loads(line) for line in log.read_text().splitlines() if '"question refused"' in line]
    assert refused[-1]["schema"] == "model_update"
    write_json(policy, before)
    assert resume_deployed(tmp_path / "run")["model_sha256"]


def test_no_code_comes_from_the_network(federation, tmp_path):
    """A coordinator that was turned permits everything at its own server; the sites still run only what they have."""
    local = federation.coordinator / "server" / "local"
    for file, change in (
        ("resources.json", {"class_allow_list": ["*"]}),
        ("authorization.json", {"permissions": {"project_admin": "any"}}),
    ):
        write_json(local / file, {**json.loads((local / file).read_text()), **change})
    killed = federation.processes("")["flare"]
    os.kill(killed, signal.SIGKILL)  # the service starts it again, with these rules
    until(lambda: federation.processes("").get("flare", killed) != killed, "FLARE's server to be started again")
    marker = tmp_path / "ran"
    custom = _job(tmp_path / "custom", "evil.Evil")
    (custom / "app" / "custom").mkdir()
    (custom / "app" / "custom" / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    foreign = _job(tmp_path / "foreign", "subprocess.Popen", {"args": ["touch", str(marker)]})
    server = FlareServer(federation.coordinator / "operator")
    try:
        assert "BYOC not permitted" in _refusal(federation, server, custom)
        assert "not in allow_list" in _refusal(federation, server, foreign)
    finally:
        server.close()
    assert not marker.exists()


def _job(folder: Path, worker: str, arguments: dict[str, Any] | None = None) -> Path:
    config = folder / "app" / "config"
    controller = {"id": "c", "path": "nvflare.app_common.workflows.broadcast_operator.BroadcastAndWait", "args": {}}
    write_json(config / "config_fed_server.json", {"format_version": 2, "workflows": [controller], "components": []})
    executor = {"tasks": ["*"], "executor": {"path": worker, "args": arguments or {}}}
    write_json(config / "config_fed_client.json", {"format_version": 2, "executors": [executor], "components": []})
    deploy = {"app": ["server", *SITES]}
    write_json(folder / "meta.json", {"name": "evil", "resource_spec": {}, "min_clients": 1, "deploy_map": deploy})
    return folder


def _refusal(federation: LocalFederation, server: FlareServer, job: Path) -> str:
    """What the logs say of a job that the first site refuses: the site's own, or the server's of the site's reply."""
    kits = [federation.sites[SITES[0]] / "client", federation.coordinator / "server"]
    before, again = _lines(kits), 0.0

    def refusal() -> str | None:
        nonlocal again
        if time.monotonic() > again:  # a job goes to those sites alone that have registered with the server by then
            with contextlib.suppress(ClapError):
                server.submit(job)
                again = time.monotonic() + 15
        for line in map(json.loads, _lines(kits) - before):
            message = str(line["message"])
            if SITES[0] in message + line["fl_ctx"] and ("BYOC" in message or "allow_list" in message):
                return message
        return None

    return str(until(refusal, f"a refusal in the logs of {kits}"))


def _lines(kits: list[Path]) -> set[str]:
    """Whole lines of all logs there; the processes at work make and remove folders meanwhile, and write on."""
    found = set()
    for folder in (folder for kit in kits for folder, _, files in os.walk(kit) if "log.json" in files):
        with contextlib.suppress(FileNotFoundError):
            found |= set((Path(folder) / "log.json").read_text(errors="replace").split("\n")[:-1])
    return found


@pytest.mark.parametrize("when", ["before it is listed", "before its log is read"])
def test_logs_are_read_though_folders_vanish_meanwhile(tmp_path, monkeypatch, when):
    for name in ("jobs/gone", "jobs/there"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "log.json").write_text('{"message": "whole"}\n{"message": "to')
    gone, scan, read = tmp_path / "jobs" / "gone", os.scandir, Path.read_text

    def scan_what_is_gone(path: Any = ".") -> Any:
        if str(path) == str(gone):
            (gone / "log.json").unlink()
            gone.rmdir()
        return scan(path)

    def read_what_is_gone(path: Path, *options: Any, **named: Any) -> str:
        if path.parent == gone:
            path.unlink()
        return read(path, *options, **named)

    if when == "before it is listed":
        monkeypatch.setattr(os, "scandir", scan_what_is_gone)
    else:
        monkeypatch.setattr(Path, "read_text", read_what_is_gone)
    assert _lines([tmp_path]) == {'{"message": "whole"}'}
    assert not (gone / "log.json").exists()
