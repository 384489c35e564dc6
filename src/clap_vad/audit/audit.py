"""``clap privacy audit``: attack runs with what their coordinators saw, and compare the results with the data."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..specification.reading import read_specification
from ..specification.run import RunSpecification
from ..workflows.opening import open_run
from .active_attacks import lying
from .isolation import isolation
from .membership import membership
from .recovery import recovery
from .replay import Observed, replay

__all__ = ["privacy_audit"]


def privacy_audit(runs: Sequence[Path], rounds: int = 3, shadow_models: int = 4) -> dict[str, Any]:
    """Replay the first rounds of in-process collaborative runs, finished or not, and attack what the coordinator saw.

    The run folders are only read.

    Args:
        runs: run folders.
        rounds: to replay at most.
        shadow_models: number of models trained for membership inference, each as long as the run on half of its
            videos: an even number of at least 4, or 0 for none. 4 models take about twice as long as the run itself.

    Returns:
        A JSON-able dict: ``runs``, each with ``seen`` and the results of ``recovery``, ``isolation``, ``membership``
        and ``lying`` (None for methods other than COMET); the ``meaning`` of each explains it in sentences.

    Raises:
        ClapError: no run, a run of another setting or over real sites, or a dataset that has changed.
    """
    if not runs:
        raise ClapError("no run to audit; give at least one run folder")
    if rounds < 1:
        raise ClapError(f"--rounds is {rounds}; at least 1 is needed")
    if shadow_models and (shadow_models < 4 or shadow_models % 2):
        raise ClapError(f"--shadow-models is {shadow_models}; an even number of at least 4 is needed, or 0 for none")
    for run in runs:  # check all before the first replay
        _check(run, read_specification(run))
    return {"runs": [_audit(run, rounds, shadow_models) for run in runs]}


def _check(run: Path, spec: RunSpecification) -> None:
    if spec.setting != "collaborative":
        raise ClapError(f"{run}: setting '{spec.setting}' sends nothing to a coordinator; audit a collaborative run")
    if spec.engine != "inprocess":
        raise ClapError(f"{run}: a run over real sites cannot be replayed, because its data are not on this machine")


def _audit(run: Path, rounds: int, shadow_models: int) -> dict[str, Any]:
    spec = read_specification(run)
    opened = open_run(spec)
    with tempfile.TemporaryDirectory(prefix="clap-audit-") as scratch:
        observed = replay(opened, Path(scratch) / "run", rounds)
        isolated = isolation(opened, observed, Path(scratch))
        lied = lying(opened, observed, run, Path(scratch) / "lying")
        inferred = membership(opened, shadow_models, observed.noised, Path(scratch))
    return {
        "run": str(run),
        "method": spec.method,
        "strategy": spec.strategy,
        "secure_aggregation": spec.secure_aggregation,
        "update_encoding": spec.update_encoding,
        "epsilon": spec.privacy.epsilon if spec.privacy else None,
        "participants": len(opened.participants),
        "rounds": observed.plan.spec.rounds,
        "seen": _seen(observed),
        "recovery": recovery(opened, observed),
        "isolation": isolated,
        "membership": inferred,
        "lying": lied,
    }


def _seen(observed: Observed) -> dict[str, Any]:
    alone = sum(len(seen.members) == len(seen.replies) for seen in observed.read)
    return {
        "messages": observed.messages,
        "bytes": observed.bytes,
        "questions": len(observed.read),
        "questions_answered_one_by_one": alone,
    }
