"""Partitioning the training videos among participants, by a protocol or from a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..persistence import read_json
from .dataset import Dataset, Participants, names_a_file, parse_participants
from .official import official_participants
from .protocol import PROTOCOLS, Recipe, check_count, protocol_in, recipe, settings_of, with_parameters

__all__ = ["describe_participants", "ensure_participants", "partition"]


def partition(
    dataset: Path, protocol: str, participants: int | None = None, seed: int = 0, **settings: Any
) -> Participants:
    """Partition the training videos and write ``participants/NAME.json``; an existing file is replaced.

    Args:
        dataset: the dataset's folder.
        protocol: ``random``, ``dirichlet``, ``event``, ``scene``; one of them with its parameters, such as
            ``random-10`` or ``dirichlet-10-0.3`` (then part of NAME); the name of an existing partition; or a file:
            a participants JSON (NAME is its protocol) or an official CLAP pickle.
        participants: number of participants, only for ``random`` and ``dirichlet``.
        seed: seed of the random assignment; a file has its own.
        settings: settings of the protocol, such as ``alpha``.

    Raises:
        ClapError: unknown protocol or setting, a broken file, or a number of participants that the protocol or its
            name does not allow.
    """
    opened = Dataset(dataset)
    assigned = _assign(opened, protocol, participants, seed, settings)
    assigned.write(opened.participants_file(assigned.protocol))
    return assigned


def ensure_participants(
    dataset: Dataset, protocol: str, seed: int = 0, participants: int | None = None
) -> Participants:
    """Read ``participants/NAME.json``; if it is missing and NAME is a protocol, create it first.

    An existing file is used, whatever seed made it: a dataset has one partition per name. A name may include parameters
    (``random-10``), so that a dataset can have partitions of different sizes.

    Raises:
        ClapError: neither a file nor a protocol has this name, or ``participants`` differs from the file or the name.
    """
    file = dataset.participants_file(protocol)
    if file.exists():
        found = dataset.read_participants(protocol)
        if participants not in (None, len(found.videos)):
            anew = f"'clap dataset partition {dataset.path} --protocol {protocol} --participants {participants}'"
            remedy = f"partition again with {anew}" if protocol in PROTOCOLS.names() else "choose another --protocol"
            raise ClapError(f"{file}: has {len(found.videos)} participants, not {participants}; {remedy}")
        return found
    wanted = recipe(protocol, participants)
    if wanted is None:
        raise ClapError(f"{_unknown(dataset, protocol)}; 'clap dataset partition' adds one from a participants file")
    assigned = _derive(dataset, protocol, wanted, seed)
    assigned.write(file)
    return assigned


def describe_participants(dataset: Dataset, assigned: Participants) -> dict[str, Any]:
    """Number of videos per participant, and of normal, anomalous and unlabelled ones; JSON-serialisable."""
    rows = []
    for participant, videos in assigned.videos.items():
        labels = [dataset.videos[video].label for video in videos]
        row = {"id": participant, "videos": len(videos)}
        rows.append(row | {"normal": labels.count(0), "anomalous": labels.count(1), "unlabelled": labels.count(None)})
    held = sum(len(videos) for videos in assigned.videos.values())
    return {
        "protocol": assigned.protocol,
        "seed": assigned.seed,
        "participants": rows,
        "videos": held,
        "unassigned": len(dataset.train_videos) - held,
    }


def _assign(
    dataset: Dataset, protocol: str, participants: int | None, seed: int, settings: dict[str, Any]
) -> Participants:
    wanted = recipe(protocol, participants, settings)
    if wanted is not None:
        return _derive(dataset, protocol, wanted, seed)
    file = Path(protocol)
    if not file.is_file():
        if not names_a_file(protocol) or not dataset.participants_file(protocol).is_file():
            raise ClapError(f"{_unknown(dataset, protocol)}; or give a participants file")
        file = dataset.participants_file(protocol)
    if settings:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in settings)
        raise ClapError(f"{file}: a file defines the whole partition; leave out {flags}")
    assigned = _read_json(file, dataset) if _looks_like_json(file) else official_participants(file, dataset.videos)
    check_count(file, assigned.protocol, "the participants in the file", participants, len(assigned.videos))
    return assigned


def _derive(dataset: Dataset, name: str, wanted: Recipe, seed: int) -> Participants:
    if wanted.participants is not None and wanted.participants < 1:
        raise ClapError(f"--participants {wanted.participants}: give at least 1")
    if seed < 0:
        raise ClapError(f"--seed {seed}: give an integer of at least 0")
    made = PROTOCOLS[wanted.protocol]
    settings = {entry.name: wanted.settings.get(entry.name, entry.default) for entry in settings_of(wanted.protocol)}
    held = made(dataset, wanted.participants, seed, **settings)
    content = {"protocol": name, "seed": seed, "settings": settings, "participants": held}
    return parse_participants(dataset.path / "videos.csv", content, dataset.train_videos)


def _read_json(file: Path, dataset: Dataset) -> Participants:
    assigned = parse_participants(file, read_json(file), dataset.train_videos)
    if not names_a_file(assigned.protocol):
        raise ClapError(f"{file}: protocol {assigned.protocol[:99]!r} cannot be a file name; choose another name")
    return assigned


def _looks_like_json(file: Path) -> bool:
    with file.open("rb") as handle:
        return file.suffix.lower() == ".json" or handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _unknown(dataset: Dataset, protocol: str) -> str:
    stored = sorted(file.stem for file in (dataset.path / "participants").glob("*.json"))
    meant = protocol_in(protocol)
    forms = [with_parameters(meant)] if meant else []
    known = ", ".join(dict.fromkeys([*PROTOCOLS.names(), *stored, *forms]))
    return f"unknown protocol '{protocol}'; known: {known}"
