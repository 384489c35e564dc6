from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner, Result

from clap_vad.cli.dataset import create, partition, prepare


def _last_json(result: Result) -> dict[str, object]:
    loaded = json.loads(result.stdout.strip().splitlines()[-1])
    assert isinstance(loaded, dict)
    return loaded


def test_create_and_partition_from_the_command_line(
    tmp_path: Path, make_store: Callable[..., Path], write_table: Callable[..., Path]
) -> None:
    store = make_store({f"v{number}": 20 for number in range(7)})
    table = write_table([["video", "split"], *([f"v{number}", "train"] for number in range(6))])
    out = str(tmp_path / "my data")
    result = CliRunner().invoke(create, ["--store", str(store), "--videos", str(table), "--out", out, "--json"])
    assert (result.exit_code, _last_json(result)["unlisted"]) == (0, ["v6"])
    result = CliRunner().invoke(
        partition, [out, "--protocol", "random", "--participants", "4", "--seed", "1", "--json"]
    )
    data = _last_json(result)
    assert result.exit_code == 0
    assert [row["videos"] for row in data["participants"]] == [2, 2, 1, 1]
    assert json.loads(Path(str(data["file"])).read_text())["seed"] == 1
    result = CliRunner().invoke(partition, [out, "--protocol", "random"])
    assert "participant-05" in result.output


def test_bad_usage_is_one_sentence_and_status_2(tmp_path: Path, bare_dataset: Path) -> None:
    for command, arguments, says in (
        (partition, [str(bare_dataset), "--protocol", "city"], "unknown protocol 'city'"),
        (partition, [str(tmp_path / "none"), "--protocol", "random"], "no dataset there"),
        (prepare, ["avenue", "--source", str(tmp_path), "--out", str(tmp_path / "o")], "unknown dataset 'avenue'"),
        (
            prepare,
            ["ucf-crime", "--source", str(tmp_path), "--out", str(tmp_path / "o"), "--fold", "a"],
            "no option 'fold'",
        ),
    ):
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 2
        assert says in result.stderr
        assert result.stderr.count("\n") == 1


def test_a_prepared_benchmark_is_described(shared: Callable[[str], Path], tmp_path: Path) -> None:
    arguments = ["ucf-crime", "--source", str(shared("ucf_crime")), "--out", str(tmp_path / "ucf")]
    result = CliRunner().invoke(prepare, arguments)
    assert result.exit_code == 0
    for text in ("1608 training videos", "1109680 frames", "0 videos differ", "next: clap features import"):
        assert text in result.output
