"""Who holds which training videos: partition protocols and files that state an assignment."""

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
    """Divide the training videos and write ``participants/NAME.json``, replacing one of that name.

    Args:
        dataset: the dataset's folder.
        protocol: ``random``, ``dirichlet``, ``event``, ``scene``; one of them with its parameters, such as
            ``random-10`` or ``dirichlet-10-0.3``, written under that very name; the name of a partition the dataset
            already has; or a file: a participants JSON (written under the protocol name it states) or an official
            CLAP pickle.
        participants: how many; only ``random`` and ``dirichlet`` can choose.
        seed: of the draw; a file keeps its own.
        settings: the protocol's own, such as ``alpha``.

    Raises:
        ClapError: unknown protocol or setting, a broken file, a number of participants that the protocol cannot
            give, or one that the name contradicts.
    """
    opened = Dataset(dataset)
    assigned = _assign(opened, protocol, participants, seed, settings)
    assigned.write(opened.participants_file(assigned.protocol))
    return assigned


def ensure_participants(
    dataset: Dataset, protocol: str, seed: int = 0, participants: int | None = None
) -> Participants:
    """The participants of ``participants/NAME.json``, made and written first where missing and derivable.

    An existing file is used as it is, whatever seed made it: a dataset has one assignment under one name. A name
    may carry parameters (``random-10``), so that assignments to different numbers of participants stand side by side.

    Raises:
        ClapError: no such file and no such protocol, or another number of participants is asked for than the file
            holds or the name states.
    """
    file = dataset.participants_file(protocol)
    if file.exists():
        found = dataset.read_participants(protocol)
        if participants not in (None, len(found.videos)):
            anew = f"'clap dataset partition {dataset.path} --protocol {protocol} --participants {participants}'"
            remedy = f"divide anew with {anew}" if protocol in PROTOCOLS.names() else "choose another --protocol"
            raise ClapError(f"{file}: holds {len(found.videos)} participants, not {participants}; {remedy}")
        return found
    wanted = recipe(protocol, participants)
    if wanted is None:
        raise ClapError(f"{_unknown(dataset, protocol)}; 'clap dataset partition' makes one of a participants file")
    assigned = _derive(dataset, protocol, wanted, seed)
    assigned.write(file)
    return assigned


def describe_participants(dataset: Dataset, assigned: Participants) -> dict[str, Any]:
    """Counts per participant (videos, and normal or anomalous ones where labels are known) for people and JSON."""
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
        raise ClapError(f"{file}: a file states who holds what and takes no {flags}; leave it out")
    assigned = _read_json(file, dataset) if _looks_like_json(file) else official_participants(file, dataset.videos)
    check_count(file, assigned.protocol, "the participants stated there", participants, len(assigned.videos))
    return assigned


def _derive(dataset: Dataset, name: str, wanted: Recipe, seed: int) -> Participants:
    if wanted.participants is not None and wanted.participants < 1:
        raise ClapError(f"--participants {wanted.participants}: at least 1 is needed")
    if seed < 0:
        raise ClapError(f"--seed {seed}: a whole number from 0 on is needed")
    made = PROTOCOLS[wanted.protocol]
    settings = {entry.name: wanted.settings.get(entry.name, entry.default) for entry in settings_of(wanted.protocol)}
    held = made(dataset, wanted.participants, seed, **settings)
    content = {"protocol": name, "seed": seed, "settings": settings, "participants": held}
    return parse_participants(dataset.path / "videos.csv", content, dataset.train_videos)


def _read_json(file: Path, dataset: Dataset) -> Participants:
    assigned = parse_participants(file, read_json(file), dataset.train_videos)
    if not names_a_file(assigned.protocol):
        raise ClapError(f"{file}: protocol {assigned.protocol[:99]!r} cannot name a file; state a plain name there")
    return assigned


def _looks_like_json(file: Path) -> bool:
    with file.open("rb") as handle:
        return file.suffix.lower() == ".json" or handle.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")


def _unknown(dataset: Dataset, protocol: str) -> str:
    stored = sorted(file.stem for file in (dataset.path / "participants").glob("*.json"))
    meant = protocol_in(protocol)
    forms = [with_parameters(meant)] if meant else []
    known = ", ".join(dict.fromkeys([*PROTOCOLS.names(), *stored, *forms]))
    return f"unknown protocol '{protocol}'; known here: {known}"
