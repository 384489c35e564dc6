"""``clap train --engine flare``: hand a run to the coordinator's service and follow it to its end."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..federation.checkpoint import read_rounds
from ..persistence import locked_folder, read_json, write_json
from ..progress import progress_bar
from ..trust.coordinator_home import CoordinatorHome
from ..workflows.choices import chosen_method
from ..workflows.configuration import RunConfig, left_over
from ..workflows.privacy_terms import Privacy
from ..workflows.train import check_free
from .planning import config_without, deployed_config
from .queue import enqueue
from .run_files import RunFiles
from .service_files import last_said

__all__ = ["resume_deployed", "train_deployed", "train_deployed_like"]

_LOOKING = 0.2  # seconds between looks at the run
_SILENT = 20.0  # seconds after which a service that says nothing is not there
_RESTARTING = 90.0  # seconds that a service which was there may be silent: it may be starting again


def train_deployed(
    out: Path,
    *,
    coordinator: Path,
    sites: Sequence[str] = (),
    without: Sequence[str] = (),
    dataset: Path | None = None,
    method: str | None = None,
    supervision: str = "us",
    strategy: str = "fedavg",
    rounds: int | None = None,
    seed: int = 0,
    threads: int = 0,
    normalise: str = "auto",
    fraction: float = 1.0,
    stragglers: float = 0.0,
    labelled_participants: float = 0.3,
    test_each_round: bool = False,
    min_sites: int = 0,
    deadline: float = 600.0,
    secure_aggregation: bool = False,
    privacy: Privacy | None = None,
    update_encoding: str = "float32",
    **options: Any,
) -> dict[str, Any]:
    """Train over sites of other organisations; returns when the run is finished.

    The coordinator's service does the work: this call may be killed and the run goes on. Ctrl-C pauses it.

    Args:
        out: run folder to make, on the coordinator's machine.
        coordinator: the coordinator's home, whose service must be running.
        sites: who takes part, in the order in which replies are summed; all approved sites by default.
        without: sites, approved or revoked, that have no part all the same.
        dataset: whose test videos judge the model; without one, sites do so at home and send histograms of scores.
        min_sites: replies that a step needs at least; 0 for all sites.
        deadline: seconds that a step waits for sites at most.
        method, supervision, strategy, rounds, seed, threads, normalise, fraction, stragglers, labelled_participants,
            test_each_round, secure_aggregation, privacy, update_encoding, options: as for
            :func:`~clap_vad.workflows.train.train`.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input, a service that is not running, and
        a run that cannot go on.
    """
    home = CoordinatorHome.open(coordinator)
    known = home.sites()
    approved = [site.name for site in known if not site.revoked]
    if unknown := [name for name in sites if name not in approved]:
        raise ClapError(
            f"--sites: {', '.join(unknown)} not approved here; approved: {', '.join(approved) or 'none yet'}"
        )
    gone = [site.name for site in known if site.revoked]
    config = deployed_config(
        left_over(list(sites) or approved, [name for name in without if name not in gone]),
        dataset=dataset,
        method=chosen_method(
            method,
            strategy,
            options,
            update_encoding=update_encoding,
            stragglers=stragglers,
            test_each_round=test_each_round,
        ),
        supervision=supervision,
        strategy=strategy,
        rounds=rounds,
        seed=seed,
        threads=threads,
        normalise=normalise,
        options=options,
        fraction=fraction,
        stragglers=stragglers,
        labelled_participants=labelled_participants,
        test_each_round=test_each_round,
        min_sites=min_sites,
        deadline=deadline,
        secure_aggregation=secure_aggregation,
        privacy=privacy,
        update_encoding=update_encoding,
    )
    return _begin(out, config, home)


def train_deployed_like(run: Path, out: Path, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Train anew as another run over sites was, with the same seed and without some of its sites.

    Args:
        run: folder of the other run; its choices are taken over.
        out: run folder to make.
        without: sites that have no part.

    Returns:
        As :func:`train_deployed`.
    """
    config = config_without(RunConfig.read(run), without)
    home = CoordinatorHome.open(Path(read_json(run / "deployed_by.json")["coordinator"]))
    approved = [site.name for site in home.sites() if not site.revoked]
    if gone := [name for name in config.sites if name not in approved]:
        raise ClapError(f"{run}: {', '.join(gone)} of its sites not approved or revoked here; add --without")
    return _begin(out, config, home)


def _begin(out: Path, config: RunConfig, home: CoordinatorHome) -> dict[str, Any]:
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        check_free(out)
        write_json(out / "deployed_by.json", {"coordinator": str(home.path.resolve())})
        write_json(out / "config.json", dataclasses.asdict(config))
    return resume_deployed(out)


def resume_deployed(run: Path) -> dict[str, Any]:
    """Ask the coordinator's service to go on with a run, and follow it; as :func:`train_deployed`."""
    config = RunConfig.read(run)
    if (run / "metrics.json").exists():
        return dict(read_json(run / "metrics.json"))
    home = CoordinatorHome.open(Path(read_json(run / "deployed_by.json")["coordinator"]))
    files = RunFiles(run)
    files.check_not_forgotten()
    files.pause(False)
    _check_served(home)
    if files.deployment():
        files.write_deployment(**{**files.deployment(), "state": "queued", "why": ""})
    enqueue(home.path, run)
    try:
        return _follow(run, config, home)
    except KeyboardInterrupt:
        files.pause(True)
        raise


def _follow(run: Path, config: RunConfig, home: CoordinatorHome) -> dict[str, Any]:
    files, shown = RunFiles(run), 0
    with progress_bar("training", config.rounds) as advance:
        while True:
            said = files.deployment()
            rounds = len(read_rounds(run / "rounds.jsonl"))
            advance(max(0, rounds - shown), note=_note(said, files.segment()))
            shown = max(shown, rounds)
            if said.get("state") == "finished":
                return dict(read_json(run / "metrics.json"))
            if said.get("state") == "failed":
                raise ClapError(f"{said.get('why')}; the run stopped there, 'clap train --resume {run}' goes on")
            _check_served(home, _RESTARTING)
            time.sleep(_LOOKING)


def _note(said: dict[str, Any], segment: dict[str, Any]) -> str:
    if said.get("state") != "running":
        return f"{said.get('state', 'queued')} {said.get('why', '')}".strip()
    replied, waiting = len(segment.get("replied") or ()), segment.get("waiting") or ()
    absent = segment.get("absent") or {}
    parts = [f"step '{segment.get('step')}': {replied} replied"] if segment.get("step") else ["starting"]
    parts += [f"waiting for {', '.join(waiting)}"] if waiting else []
    parts += [f"without {', '.join(absent)}"] if absent else []
    return ", ".join(parts)


def _check_served(home: CoordinatorHome, silent: float = _SILENT) -> None:
    if last_said(home.path)[0] > silent:
        raise ClapError(
            f"{home.path}: its service is not running; start it with 'clap coordinator start', the run then goes on "
            "by itself"
        )
