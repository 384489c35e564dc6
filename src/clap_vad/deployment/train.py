"""``clap train --engine flare``: give a run to the coordinator's service and follow it until it ends."""

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
from .service_files import last_status

__all__ = ["resume_deployed", "train_deployed", "train_deployed_like"]

_POLL = 0.2  # seconds between checks of the run
_SILENT = 20.0  # seconds without a status after which a service counts as stopped
_RESTARTING = 90.0  # seconds without a status that are allowed later, because the service may be restarting


@takes_options("train", "flare")
def train_deployed(out: Path, *, coordinator: Path, dataset: Path | None = None, asked: RunOptions) -> dict[str, Any]:
    """Train over sites of other organisations; returns when the run is finished.

    The coordinator's service does the work: if this call is killed, the run continues. Ctrl-C pauses it.

    Args:
        out: run folder to make, on the coordinator's machine.
        coordinator: the coordinator's folder, whose service must be running.
        dataset: its test videos evaluate the model; without one, the sites evaluate it and send score histograms.
        {options}
        options: settings of the method and of the strategy.

    Returns:
        The contents of ``metrics.json``. Raises :class:`ClapError` for bad input, a service that is not running, and
        a run that cannot continue.
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
    """Repeat a run over sites with the same seed, without some of its sites.

    Args:
        run: folder of the other run; its options are used.
        out: run folder to make.
        without: sites to leave out.

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
    """Ask the coordinator's service to continue a run, and follow it; as :func:`train_deployed`."""
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
            deployment = files.deployment()
            rounds = len(read_rounds(run / "rounds.jsonl"))
            advance(max(0, rounds - shown), note=_note(deployment, files.job_status()))
            shown = max(shown, rounds)
            if deployment.get("state") == "finished":
                return dict(read_json(run / "metrics.json"))
            if deployment.get("state") == "failed":
                why = deployment.get("why")
                raise ClapError(f"{why}; the run stopped, continue it with 'clap train --resume {run}'")
            _check_served(home, _RESTARTING)
            time.sleep(_POLL)


def _note(deployment: dict[str, Any], job: dict[str, Any]) -> str:
    if deployment.get("state") != "running":
        return f"{deployment.get('state', 'queued')} {deployment.get('why', '')}".strip()
    replied, waiting = len(job.get("replied") or ()), job.get("waiting") or ()
    absent = job.get("absent") or {}
    parts = [f"step '{job.get('step')}': {replied} replied"] if job.get("step") else ["starting"]
    parts += [f"waiting for {', '.join(waiting)}"] if waiting else []
    parts += [f"without {', '.join(absent)}"] if absent else []
    return ", ".join(parts)


def _check_served(home: CoordinatorHome, silent: float = _SILENT) -> None:
    if last_status(home.path)[0] > silent:
        raise ClapError(
            f"{home.path}: its service is not running; start it with 'clap coordinator start', then the run continues "
            "by itself"
        )
