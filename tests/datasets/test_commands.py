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


def test_settings_of_protocols_are_options(bare_dataset: Path) -> None:
    assert "--alpha FLOAT" in CliRunner().invoke(partition, ["--protocol", "dirichlet", "--help"]).output
    sizes = {}
    for alpha in ("0.01", "1000"):
        arguments = [str(bare_dataset), "--protocol", "dirichlet", "--participants", "3", "--alpha", alpha, "--json"]
        data = _last_json(CliRunner().invoke(partition, arguments))
        sizes[alpha] = sorted(row["videos"] for row in data["participants"])
        assert json.loads(Path(data["file"]).read_text())["settings"] == {"alpha": float(alpha)}
        assert Path(str(data["file"])).name == "dirichlet.json"
        assert "picture" not in data
    assert sizes["1000"] in ([6, 7, 7], [6, 6, 8])
    assert sizes["0.01"][-1] >= 15
    result = CliRunner().invoke(partition, [str(bare_dataset), "--protocol", "dirichlet-4-0.3", "--json"])
    assert Path(str(_last_json(result)["file"])).name == "dirichlet-4-0.3.json"


def test_a_picture_of_the_participants(bare_dataset: Path, tmp_path: Path) -> None:
    for name, begins in (("shares.svg", b"<?xml"), ("sub/shares.PNG", b"\x89PNG\r\n")):
        picture = tmp_path / name
        arguments = [str(bare_dataset), "--protocol", "random-4", "--picture", str(picture)]
        result = CliRunner().invoke(partition, [*arguments, "--json"])
        assert (result.exit_code, _last_json(result)["picture"]) == (0, str(picture))
        assert picture.read_bytes().startswith(begins)
        assert [file.name for file in picture.parent.glob("*shares*")] == [picture.name]
        assert picture.name in CliRunner().invoke(partition, arguments).output
    text = (tmp_path / "shares.svg").read_text()
    assert ">random-4, seed 0<" in text and ">participant-04<" in text and ">unlabelled<" not in text


def test_another_picture_format_is_refused_before_anything_is_written(bare_dataset: Path) -> None:
    result = CliRunner().invoke(partition, [str(bare_dataset), "--protocol", "random", "--picture", "shares.pdf"])
    assert result.exit_code == 2
    assert "shares.pdf: unknown picture format; use a name that ends with .svg or .png" in result.stderr
    assert not (bare_dataset / "participants").exists()


def test_bad_usage_is_one_sentence_and_status_2(tmp_path: Path, bare_dataset: Path) -> None:
    for command, arguments, says in (
        (partition, [str(bare_dataset), "--protocol", "city"], "unknown protocol 'city'"),
        (partition, [str(bare_dataset), "--protocol", "random", "--alpha", "1"], "no setting 'alpha'"),
        (partition, [str(bare_dataset), "--protocol", "random-3", "--participants", "4"], "--participants 3, not 4"),
        (partition, [str(tmp_path / "none"), "--protocol", "random"], "not a dataset"),
        (prepare, ["avenue", "--source", str(tmp_path), "--out", str(tmp_path / "o")], "unknown dataset 'avenue'"),
        (
            prepare,
            ["ucf-crime", "--source", str(tmp_path), "--out", str(tmp_path / "o"), "--fold", "a"],
            "no setting 'fold'",
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
