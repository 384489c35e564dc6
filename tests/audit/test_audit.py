"""``clap privacy``: ledgers read, schemas checked, runs attacked."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from clap_vad.audit.audit import privacy_audit
from clap_vad.cli.privacy import audit as audit_command
from clap_vad.cli.privacy import ledger as ledger_command
from clap_vad.cli.privacy import schemas as schemas_command
from clap_vad.errors import ClapError
from clap_vad.federation import messages
from clap_vad.workflows.ledger import privacy_ledger
from clap_vad.workflows.schemas import privacy_schemas
from synthetic import SCENES, make_dataset

PLAIN_SGD = {"method": "c2fpl", "momentum": 0.0, "nesterov": "off", "local_epochs": 1, "epoch_share": 0.05}


@pytest.fixture
def dataset(tmp_path) -> Path:
    return make_dataset(tmp_path / "dataset", videos=4)


def train(quick_train, dataset: Path, out: Path, **changes) -> Path:
    quick_train(dataset, out, **{**PLAIN_SGD, "rounds": 2, "normalise": "federated", **changes})
    return out


def ledger_line(**changes) -> str:
    line = {"time": "t", "sequence": 0, "step": "train", "round": 1, "peer": "coordinator", "schema": "model_update"}
    return json.dumps({**line, "shapes": {}, "bytes": 5, "sha256": "ab" * 32, "protection": "none", **changes})


def site_home(path: Path, *lines: str) -> Path:
    file = path / "runs" / "run-1" / "ledger.jsonl"
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines))
    return path


def test_the_ledger_of_a_run_holds_every_message(tmp_path, dataset, quick_train):
    run = train(quick_train, dataset, tmp_path / "run")
    found = privacy_ledger(run, "north")
    assert [line["step"] for line in found["messages"]].count("train") == 2
    assert found["bytes"] == sum(row["bytes"] for row in found["totals"])
    assert all(line["purpose"] for line in found["messages"])
    output = CliRunner().invoke(ledger_command, [str(run), "--site", "north"], env={"COLUMNS": "200"}).output
    assert "model_update" in output
    with pytest.raises(ClapError, match=f"no site 'nowhere' with a ledger; known sites: {', '.join(sorted(SCENES))}"):
        privacy_ledger(run, "nowhere")
    with pytest.raises(ClapError, match="--site is needed; known sites: east"):
        privacy_ledger(run)


def test_a_sites_own_folder_is_read_too(tmp_path):
    home = site_home(tmp_path / "home", ledger_line(), ledger_line(bytes=7, protection="masked"))
    found = privacy_ledger(home)
    assert (found["bytes"], found["totals"][0]["masked"], found["torn"]) == (12, 1, False)
    (home / "runs" / "run-2").mkdir()
    (home / "runs" / "run-2" / "ledger.jsonl").write_text(ledger_line() + "\n")
    with pytest.raises(ClapError, match="--run is needed; known runs: run-1, run-2"):
        privacy_ledger(home)
    assert privacy_ledger(home, run_id="run-2")["bytes"] == 5


def test_only_the_last_line_may_be_torn(tmp_path):
    home = site_home(tmp_path / "torn", ledger_line(), ledger_line()[:30])
    assert privacy_ledger(home)["torn"]
    result = CliRunner().invoke(ledger_command, [str(home)])
    assert result.exit_code == 2
    assert "the last line is incomplete" in result.output
    broken = site_home(tmp_path / "broken", ledger_line(), "[1]", ledger_line())
    with pytest.raises(ClapError, match=r"ledger\.jsonl: line 2 is not a valid ledger line"):
        privacy_ledger(broken)


@pytest.mark.parametrize("make", [lambda path: None, Path.mkdir])
def test_a_folder_without_ledgers_is_refused(tmp_path, make):
    make(tmp_path / "nothing")
    with pytest.raises(ClapError, match=r"nothing: (no such folder|contains no ledgers)"):
        privacy_ledger(tmp_path / "nothing")


def test_no_schema_can_grow_and_one_that_could_is_found(monkeypatch):
    found = privacy_schemas()
    assert found["bounded"]
    assert {row["schema"] for row in found["schemas"]} == {declared.name for declared in messages.schemas()}
    assert CliRunner().invoke(schemas_command, ["--json"]).exit_code == 0
    grown = replace(messages.schema("segment_count"), fields={"count": messages.Field(("T",), "int64")})
    monkeypatch.setitem(messages._SCHEMAS, "segment_count", grown)
    assert not privacy_schemas()["bounded"]
    assert CliRunner().invoke(schemas_command, []).exit_code == 2


def test_the_attack_works_on_a_bare_run_and_fails_on_masked_sums(tmp_path, dataset, quick_train):
    plain = train(quick_train, dataset, tmp_path / "plain")
    secure = train(quick_train, dataset, tmp_path / "secure", secure_aggregation=True)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    bare, masked = privacy_audit([plain, secure])["runs"]
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before
    assert bare["recovery"]["total"]["attacked"]["within_5"] > 0
    assert bare["recovery"]["total"]["chance_gaussian"]["within_5"] == 0
    assert masked["recovery"]["total"]["attacked"]["within_5"] < bare["recovery"]["total"]["attacked"]["within_5"]
    assert bare["seen"]["questions_answered_one_by_one"] == bare["seen"]["questions"]
    assert masked["seen"]["questions_answered_one_by_one"] == 0
    assert bare["isolation"]["update_error"] == 0
    assert (masked["isolation"]["cohorts"], masked["isolation"]["least_difference"]) == (1, None)
    assert masked["isolation"]["feature_mean_error"] < 1e-6
    assert masked["isolation"]["update_error"] < 0.01
    eight_bits = {"secure_aggregation": True, "update_encoding": "int8"}
    (found,) = privacy_audit([train(quick_train, dataset, tmp_path / "int8", **eight_bits)], shadow_models=0)["runs"]
    assert found["recovery"]["total"]["attacked"]["within_5"] <= masked["recovery"]["total"]["attacked"]["within_5"]
    assert 0 <= bare["membership"]["likelihood_ratio"]["auc"] <= 1
    assert bare["membership"] == masked["membership"]  # masks do not change the model that is attacked
    output = CliRunner().invoke(audit_command, [str(plain), "--json"]).output
    assert json.loads(output)["runs"] == [bare]
    assert (
        "within 5 %" in CliRunner().invoke(audit_command, [str(plain), "--rounds", "1", "--shadow-models", "0"]).output
    )


def test_runs_with_drawn_participants_and_unfinished_ones_are_audited(tmp_path, dataset, quick_train):
    run = train(quick_train, dataset, tmp_path / "drawn", fraction=0.75, rounds=3, secure_aggregation=True)
    for file in ("model.json", "metrics.json"):
        (run / file).unlink()
    (found,) = privacy_audit([run])["runs"]
    assert found["isolation"]["cohorts"] > 1
    assert found["isolation"]["update_error"] < 0.01
    assert found["membership"]["videos"] == 16
    bare = train(quick_train, dataset, tmp_path / "few", fraction=0.25)
    assert privacy_audit([bare], rounds=1, shadow_models=0)["runs"][0]["rounds"] == 1


def test_gcl_and_runs_without_test_videos_are_audited(tmp_path, quick_train, small_generator):
    bare = make_dataset(tmp_path / "bare", videos=3, test=False)
    run = tmp_path / "gcl"
    quick_train(bare, run, method="gcl", rounds=1)
    (found,) = privacy_audit([run], shadow_models=0)["runs"]
    assert found["membership"]["loss"] is None
    assert "was not run" in found["membership"]["meaning"]
    assert found["recovery"]["total"]["attacked"]["candidates"] > 0


def test_what_cannot_be_audited_is_refused(tmp_path, dataset, quick_train):
    run = train(quick_train, dataset, tmp_path / "local", setting="local", rounds=1)
    with pytest.raises(ClapError, match="audit a collaborative run"):
        privacy_audit([run])
    with pytest.raises(ClapError, match="no run there"):
        privacy_audit([tmp_path / "gone"])
    with pytest.raises(ClapError, match="--rounds is 0"):
        privacy_audit([run], rounds=0)
    with pytest.raises(ClapError, match="--shadow-models is 3"):
        privacy_audit([run], shadow_models=3)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps({**config, "setting": "collaborative", "engine": "flare"}))
    with pytest.raises(ClapError, match="cannot be replayed"):
        privacy_audit([run])
