"""``clap coordinator forget``: a site leaves. What the coordinator still holds of it goes, and what stays is told."""

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
    "finished models that hold what the site gave: they stay in their run folders until you delete them, and copies "
    "that were handed out or exported are out of reach",
    "what other sites have made of such a model at home: their adapted models, their scores, their alarms",
    "sums and updates that were seen here before: whoever kept them elsewhere, in a backup too, has them still",
)
"""What no command can call back."""

_CHECKPOINTS = "checkpoints"
_INTRODUCTION = 2  # questions at the beginning of a run whose answers tell nothing of any video


@dataclass(frozen=True)
class Trace:
    """A run that a site was to take part in.

    Attributes:
        run: its folder.
        state: ``finished``, or where it stood.
        gave: whether the site answered more than the introduction; None where nothing tells any more.
        rounds: rounds of training whose result holds its answer.
        masked: whether its answers came under masks.
        epsilon: of the run's differential privacy; None for none.
        model: file of the model, where there is one.
        model_sha256: of the model, where the run is finished.
        removed: whether checkpoints were there and are gone now.
        busy: whether a job is still at work on the run, so that nothing could be removed yet.
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
    """Shut a site out, remove what this coordinator holds of it, and tell which models hold what it gave.

    Its runs that are not finished end: nobody goes on with them. Of finished runs the checkpoints go, which are not
    needed any more; the models stay, for others may depend on them.

    Args:
        home: the coordinator's.
        site: its name.
        look: only tell; change nothing.

    Returns:
        A JSON-able dict: ``site``, ``revoked``, ``runs`` (entries of :class:`Trace`), ``missing`` (folders of runs
        that are no longer where they were, or cannot be read), ``not_recalled``.

    Raises:
        ClapError: no site of this name was ever approved.
    """
    names = {one.name: one for one in home.sites()}
    if site not in names:
        raise ClapError(f"{home.path}: no site '{site}' was approved; approved: {', '.join(names) or 'none'}")
    if not look:
        home.revoke(site)  # first: nothing new comes from it while the rest is removed
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
    """What the coordinator's last state says of the site in this place of the run."""
    try:
        state = Checkpoint(run / _CHECKPOINTS).load()
    except ClapError:
        return None
    if "accepted" in state:
        return int(state["accepted"][row]) >= _INTRODUCTION
    return None if RunFiles(run).deployment().get("segments") else False


def _removed(home: CoordinatorHome, run: Path, trace: Trace, site: str) -> Trace:
    """Take away what can be taken away of this run."""
    files = RunFiles(run)
    if trace.state != "finished":
        files.forget(site)
        files.recall(int(files.segment().get("number", 0)))
        dequeue(home.path, run)
    elif trace.gave is False:
        return trace
    there = (run / _CHECKPOINTS).exists()
    try:
        with locked_soon(run):
            shutil.rmtree(run / _CHECKPOINTS, ignore_errors=True)
            if trace.state != "finished":
                why = f"site '{site}' was forgotten; train anew without it"
                said = {"id": None, "segments": 0, **files.deployment()}
                files.write_deployment(**{**said, "state": "failed", "why": why})
    except ClapError:
        return replace(trace, busy=True)
    return replace(trace, removed=there)
