"""The tables of the CLAP paper as cells, as far as a dataset has scenes, events and official partitions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..datasets.dataset import Dataset
from ..errors import ClapError
from .cells import Cell, expand_cells

__all__ = ["TABLES", "PaperTable", "default_protocol", "paper_tables"]

TABLES = ("main", "strategies", "protocols", "participants")
METHODS = ("gcl", "c2fpl", "clap")
STRATEGIES = ("fedavg", "fedprox", "scaffold")
SHARES = (5, 10, 25, 50)


@dataclass(frozen=True)
class PaperTable:
    """One table of the paper.

    Attributes:
        name: one of :data:`TABLES`.
        title: for its heading.
        cells: its rows, in order.
    """

    name: str
    title: str
    cells: tuple[Cell, ...]


def default_protocol(dataset: Dataset) -> str:
    """The protocol of the main table: the official random split among five, else ``scene``, else ``random``.

    The paper's main table does not use its scene protocol, for which it reports another value for CLAP (73.99 instead
    of 78.02). We assume the random protocol.
    """
    stored = _stored(dataset)
    if "official-random-5" in stored:
        return "official-random-5"
    return _scene(dataset, stored) or "random"


def paper_tables(dataset: Dataset, protocol: str, wanted: tuple[str, ...] = TABLES) -> list[PaperTable]:
    """The tables for this dataset, without those for which it lacks the fields.

    Args:
        dataset: with its official partitions, if any.
        protocol: of the main table.
        wanted: names of tables, see :data:`TABLES`.

    Raises:
        ClapError: for an unknown table.
    """
    if unknown := sorted(set(wanted) - set(TABLES)):
        raise ClapError(f"--tables: unknown table '{unknown[0]}'; known: {', '.join(TABLES)}")
    stored = _stored(dataset)
    scene, event, shares = _scene(dataset, stored), _event(dataset, stored), _shares(dataset, stored)
    tables = [
        PaperTable(
            "main",
            "Methods, settings and supervisions",
            tuple(
                expand_cells(METHODS, ("centralized", "local", "collaborative"), ("us", "ws"), ("fedavg",), protocol)
            ),
        ),
        PaperTable(
            "strategies",
            "Strategies of aggregation",
            tuple(Cell("clap", "collaborative", "us", strategy, scene or protocol) for strategy in STRATEGIES),
        ),
        PaperTable(
            "protocols",
            "Partitions among participants",
            tuple(
                Cell("clap", "collaborative", "us", "fedavg", name)
                for name in (*shares[:1], *([event] if event else []), *([scene] if scene else []))
            ),
        ),
        PaperTable(
            "participants",
            "Number of participants",
            tuple(Cell("clap", "collaborative", "us", "fedavg", name) for name in shares),
        ),
    ]
    return [table for table in tables if table.name in wanted and len(table.cells) > 1]


def _stored(dataset: Dataset) -> list[str]:
    return sorted(file.stem for file in (dataset.path / "participants").glob("*.json"))


def _scene(dataset: Dataset, stored: list[str]) -> str | None:
    if official := [name for name in stored if name.startswith("official-scene-")]:
        return official[0]
    scenes = {dataset.videos[video].scene for video in dataset.train_videos}
    return "scene" if len(scenes) > 1 and "" not in scenes else None


def _event(dataset: Dataset, stored: list[str]) -> str | None:
    if official := [name for name in stored if name.startswith("official-event-")]:
        return official[0]
    events = {dataset.videos[video].event for video in dataset.train_videos} - {""}
    return "event" if len(events) > 1 else None


def _shares(dataset: Dataset, stored: list[str]) -> list[str]:
    """Protocols of equal shares: the official ones, else random ones with at least four videos per participant."""
    official = {int(found[1]): name for name in stored if (found := re.fullmatch(r"official-random-(\d+)", name))}
    if official:
        return [official[count] for count in sorted(official) if count in SHARES]
    return [f"random-{count}" for count in SHARES if count * 4 <= len(dataset.train_videos)]
