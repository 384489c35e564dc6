"""``clap coordinator forget``: exclude a site, delete what the coordinator has of it, and report what remains."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..federation.checkpoint import Checkpoint, read_rounds
from ..persistence import read_json
from ..trust.coordinator_home import CoordinatorHome
from .log import note
from .queue import dequeue, known_runs
from .run_files import RunFiles, locked_soon

__all__ = ["NOT_RECALLED", "Trace", "forget_site"]

NOT_RECALLED = (
    "finished models with contributions of the site: they stay in their run folders until you delete them; copies that "
    "were shared or exported cannot be deleted here",
    "results of such a model at other sites: their personalised models, scores and alarms",
    "sums and updates received before: copies kept elsewhere, such as backups, still exist",
)
"""What this command cannot delete."""

_CHECKPOINTS = "checkpoints"
_HANDSHAKE = 2  # first questions of a run, whose answers do not depend on any video


@dataclass(frozen=True)
class Trace:
    """A run whose participants include the site.

    Attributes:
        run: its folder.
        state: ``finished``, or the state of the unfinished run.
        gave: True if the site answered more than the handshake; None if unknown.
        rounds: training rounds whose result includes its answer.
        masked: True if its answers were masked.
        epsilon: of the run's differential privacy; None for none.
        model: file of the model, if there is one.
        model_sha256: of the model of a finished run.
        removed: True if checkpoints were deleted.
        busy: True if a job still works on the run, so that nothing could be deleted yet.
    """

    run: str
    state: str
    gave: bool | None
    rounds: int
    masked: bool
    epsilon: float | None
    model: str | None
    model_sha256: str | None
    removed: bool = False
    busy: bool = False


def forget_site(home: CoordinatorHome, site: str, look: bool = False) -> dict[str, Any]:
    """Revoke a site, delete what this coordinator has of it, and report which models include its contributions.

    Unfinished runs of the site end and cannot be resumed. Of finished runs the checkpoints are deleted, which are not
    needed any more; the models stay, because others may depend on them.

    Args:
        home: the coordinator's.
        site: its name.
        look: only report; change nothing.

    Returns:
        A JSON-able dict: ``site``, ``revoked``, ``runs`` (entries of :class:`Trace`), ``missing`` (folders of runs
        that were moved or cannot be read), ``not_recalled``.

    Raises:
        ClapError: no site of this name was ever approved.
    """
    names = {one.name: one for one in home.sites()}
    if site not in names:
        raise ClapError(f"{home.path}: no site '{site}' was approved; approved: {', '.join(names) or 'none'}")
    if not look:
        home.revoke(site)  # first, so that it sends nothing new meanwhile
        note(home.path, "site forgotten", site=site)
    traces, missing = [], []
    for run in known_runs(home.path):
        try:
            config = RunFiles(run).config()
            if site in config["sites"]:
                trace = _trace(run, config, site)
                traces.append(trace if look else _removed(home, run, trace, site))
        except (ClapError, OSError):
            missing.append(str(run))
    return {
        "site": site,
        "revoked": names[site].revoked if look else True,
        "runs": [asdict(trace) for trace in traces],
        "missing": missing,
        "not_recalled": list(NOT_RECALLED),
    }


def _trace(run: Path, config: dict[str, Any], site: str) -> Trace:
    files, finished = RunFiles(run), (run / "metrics.json").exists()
    rounds = sum(site in line.get("answered", ()) for line in read_rounds(run / "rounds.jsonl"))
    privacy = config.get("privacy") or {}
    return Trace(
        run=str(run),
        state="finished" if finished else str(files.deployment().get("state", "queued")),
        gave=True if rounds else _gave(run, list(config["sites"]).index(site)),
        rounds=rounds,
        masked=bool(config.get("secure_aggregation")),
        epsilon=privacy.get("epsilon"),
        model=str(run / "model.safetensors") if (run / "model.safetensors").exists() else None,
        model_sha256=_model_sha256(run) if finished else None,
    )


def _model_sha256(run: Path) -> str | None:
    metrics = read_json(run / "metrics.json")
    return str(metrics["model_sha256"]) if isinstance(metrics, dict) and "model_sha256" in metrics else None


def _gave(run: Path, row: int) -> bool | None:
    """Whether the site with this index has contributed, by the last checkpoint; None if unknown."""
    try:
        state = Checkpoint(run / _CHECKPOINTS).load()
    except ClapError:
        return None
    if "accepted" in state:
        return int(state["accepted"][row]) >= _HANDSHAKE
    return None if RunFiles(run).deployment().get("segments") else False


def _removed(home: CoordinatorHome, run: Path, trace: Trace, site: str) -> Trace:
    """Delete what can be deleted of this run."""
    files = RunFiles(run)
    if trace.state != "finished":
        files.forget(site)
        files.recall(int(files.job_status().get("number", 0)))
        dequeue(home.path, run)
    elif trace.gave is False:
        return trace
    there = (run / _CHECKPOINTS).exists()
    try:
        with locked_soon(run):
            shutil.rmtree(run / _CHECKPOINTS, ignore_errors=True)
            if trace.state != "finished":
                why = f"site '{site}' was forgotten; train again without it"
                before = {"id": None, "segments": 0, **files.deployment()}
                files.write_deployment(**{**before, "state": "failed", "why": why})
    except ClapError:
        return replace(trace, busy=True)
    return replace(trace, removed=there)
