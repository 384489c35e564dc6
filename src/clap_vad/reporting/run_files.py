"""Reading a run folder for a report. Ground truth, rounds and ledgers may be missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..datasets.dataset import Dataset
from ..errors import ClapError
from ..persistence import UNREADABLE, open_npz, read_json

__all__ = ["Leaving", "RunFiles", "read_leaving", "read_run"]


@dataclass(frozen=True)
class RunFiles:
    """The parts of a run.

    Attributes:
        path: the run folder.
        config, metrics: contents of ``config.json`` and ``metrics.json``.
        rounds: lines of ``rounds.jsonl``.
        scores: participant -> its ``scores.npz``; the only key is "" for a run with one model.
        dataset: the scored dataset; None if it is no longer available.
    """

    path: Path
    config: dict[str, Any]
    metrics: dict[str, Any]
    rounds: tuple[dict[str, Any], ...]
    scores: dict[str, Path]
    dataset: Dataset | None

    def read_scores(self, name: str, visit: Callable[[str, np.ndarray], None]) -> None:
        """Call ``visit(video, scores (T,))`` for every video; only one video is in memory."""
        file = self.scores[name]
        try:
            with open_npz(file, "scores") as archive:
                for video in archive.files:
                    visit(video, archive[video])
        except UNREADABLE as error:
            raise ClapError(f"{file}: not a readable .npz of scores ({error}); evaluate the run again") from None


@dataclass(frozen=True)
class Leaving:
    """Messages of one schema that left the sites, from the sites' ledgers."""

    schema: str
    messages: int
    bytes: int
    protections: tuple[str, ...]


def read_run(run: Path, dataset: Path | None = None) -> RunFiles:
    """Read a run folder.

    Args:
        run: the folder.
        dataset: the scored dataset; by default the one in ``config.json``, if it still exists.

    Raises:
        ClapError: there is no run, one of its files is broken, or ``dataset`` is not a dataset.
    """
    if not run.is_dir():
        raise ClapError(f"{run}: no run there; give a run made with 'clap train'")
    config = _object(run / "config.json")
    if not config:
        raise ClapError(f"{run}: not a run (config.json is missing); give a run made with 'clap train'")
    return RunFiles(
        path=run,
        config=config,
        metrics=_object(run / "metrics.json"),
        rounds=tuple(_lines(run / "rounds.jsonl")[0]),
        scores=_score_files(run),
        dataset=Dataset(dataset) if dataset is not None else _named_dataset(config),
    )


def read_leaving(run: Path) -> tuple[list[Leaving], int]:
    """Messages that left the sites, from all ``sites/*/ledger.jsonl``, largest first; number of damaged lines."""
    totals: dict[str, tuple[int, int, set[str]]] = {}
    damaged = 0
    for ledger in sorted((run / "sites").glob("*/ledger.jsonl")):
        lines, broken = _lines(ledger)
        damaged += broken
        for line in lines:
            sent = line.get("bytes") or 0
            if not isinstance(sent, int):
                damaged += 1
                continue
            schema = str(line.get("schema", "unnamed"))
            messages, size, protections = totals.get(schema, (0, 0, set()))
            protections.add(str(line.get("protection", "none")))
            totals[schema] = (messages + 1, size + sent, protections)
    found = [Leaving(schema, count, size, tuple(sorted(kinds))) for schema, (count, size, kinds) in totals.items()]
    return sorted(found, key=lambda leaving: (-leaving.bytes, leaving.schema)), damaged


def _object(file: Path) -> dict[str, Any]:
    if not file.exists():
        return {}
    content = read_json(file)
    if not isinstance(content, dict):
        raise ClapError(f"{file}: not a JSON object; restore the file or train again")
    return content


def _lines(file: Path) -> tuple[list[dict[str, Any]], int]:
    """JSON objects, one per line, and the number of damaged lines (a kill may leave an incomplete one)."""
    if not file.exists():
        return [], 0
    found, broken = [], 0
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            content = json.loads(line)
        except json.JSONDecodeError:
            content = None
        if isinstance(content, dict):
            found.append(content)
        else:
            broken += 1
    return found, broken


def _score_files(run: Path) -> dict[str, Path]:
    if (run / "scores.npz").exists():
        return {"": run / "scores.npz"}
    return {file.parent.name: file for file in sorted((run / "participants").glob("*/scores.npz"))}


def _named_dataset(config: dict[str, Any]) -> Dataset | None:
    named = config.get("dataset")
    if not isinstance(named, str) or not Path(named, "videos.csv").exists():
        return None
    try:
        dataset = Dataset(Path(named))
        _ = dataset.stores
    except ClapError:
        # the dataset has changed or is partly removed: the report does not use it
        return None
    return dataset
