"""``clap train --engine flare``: hand a run to the coordinator's service and follow it to its end."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..federation.checkpoint import read_rounds
from ..persistence import locked_folder, read_json, write_json
from ..progress import progress_bar
from ..specification.reading import read_specification
from ..specification.run import RunOptions, RunSpecification
from ..specification.signature import takes_options
from ..trust.coordinator_home import CoordinatorHome
from ..workflows.opening import left_over
from ..workflows.train import check_free
from .planning import deployed_specification, specification_without
from .queue import enqueue
from .run_files import RunFiles
from .service_files import last_said

__all__ = ["resume_deployed", "train_deployed", "train_deployed_like"]

_LOOKING = 0.2  # seconds between looks at the run
_SILENT = 20.0  # seconds after which a service that says nothing is not there
_RESTARTING = 90.0  # seconds that a service which was there may be silent: it may be starting again


@takes_options("train", "flare")
def train_deployed(out: Path, *, coordinator: Path, dataset: Path | None = None, asked: RunOptions) -> dict[str, Any]:
    """Train over sites of other organisations; returns when the run is finished.

    The coordinator's service does the work: this call may be killed and the run goes on. Ctrl-C pauses it.

    Args:
        out: run folder to make, on the coordinator's machine.
        coordinator: the coordinator's home, whose service must be running.
        dataset: whose test videos judge the model; without one, sites do so at home and send histograms of scores.
        {options}
        options: settings of the method and of the strategy.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input, a service that is not running, and
        a run that cannot go on.
    """
    home = CoordinatorHome.open(coordinator)
    known = home.sites()
    approved = [site.name for site in known if not site.revoked]
    if unknown := [name for name in asked.sites if name not in approved]:
        raise ClapError(
            f"--sites: {', '.join(unknown)} not approved here; approved: {', '.join(approved) or 'none yet'}"
        )
    gone = [site.name for site in known if site.revoked]
    without = [name for name in asked.without if name not in gone]
    sites = tuple(left_over(asked.sites or approved, without))
    chosen = replace(asked, sites=sites, without=(), dataset="" if dataset is None else str(dataset))
    return _begin(out, deployed_specification(chosen), home)


def train_deployed_like(run: Path, out: Path, *, without: Sequence[str] = ()) -> dict[str, Any]:
    """Train anew as another run over sites was, with the same seed and without some of its sites.

    Args:
        run: folder of the other run; its choices are taken over.
        out: run folder to make.
        without: sites that have no part.

    Returns:
        As :func:`train_deployed`.
    """
    spec = specification_without(read_specification(run), without)
    home = CoordinatorHome.open(Path(read_json(run / "deployed_by.json")["coordinator"]))
    approved = [site.name for site in home.sites() if not site.revoked]
    if gone := [name for name in spec.sites if name not in approved]:
        raise ClapError(f"{run}: {', '.join(gone)} of its sites not approved or revoked here; add --without")
    return _begin(out, spec, home)


def _begin(out: Path, spec: RunSpecification, home: CoordinatorHome) -> dict[str, Any]:
    check_free(out)
    out.mkdir(parents=True, exist_ok=True)
    with locked_folder(out):
        check_free(out)
        write_json(out / "deployed_by.json", {"coordinator": str(home.path.resolve())})
        write_json(out / "config.json", spec.as_json())
    return resume_deployed(out)


def resume_deployed(run: Path) -> dict[str, Any]:
    """Ask the coordinator's service to go on with a run, and follow it; as :func:`train_deployed`."""
    spec = read_specification(run)
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
        return _follow(run, spec, home)
    except KeyboardInterrupt:
        files.pause(True)
        raise


def _follow(run: Path, spec: RunSpecification, home: CoordinatorHome) -> dict[str, Any]:
    files, shown = RunFiles(run), 0
    with progress_bar("training", spec.rounds) as advance:
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
