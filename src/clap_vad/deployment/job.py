"""A FLARE job: continues a run from its last checkpoint, until it ends or too few sites are left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..algorithms.method import Method
from ..engines.flare.engine import FlareEngine, Progress, RecalledError
from ..errors import ClapError
from ..federation.ask import Ask, State, Steps
from ..federation.checkpoint import Checkpoint, RoundLog
from ..federation.coordinator import ANSWERED, coordinate
from ..federation.engine import TooFewRepliesError
from ..persistence import write_json
from ..specification.reading import read_specification
from ..specification.run import RunSpecification
from ..workflows.finish import finish, finished, test_round
from .handshake import handshake
from .log import note
from .planning import resolved_run, test_dataset
from .resolved_run import ResolvedRun
from .run_files import RunFiles, locked_soon

__all__ = ["Job"]


class Job:
    """One job, and its status in the run's folder.

    Args:
        run: the run's folder.
        number: of the job within the run.
    """

    def __init__(self, run: Path, number: int) -> None:
        self._files = RunFiles(run)
        self._run, self._number = run, number
        self._sequence = -1
        self._absent_since: dict[str, float] = {}
        self._refused: set[tuple[int, str]] = set()

    def recalled(self) -> bool:
        """True if the job has to end: sites have reconnected, or the run is to pause."""
        return self._files.recalled(self._number) or self._files.paused

    def progress(self, progress: Progress) -> None:
        """Report the progress of the current step."""
        now = time.time()
        number = int(progress.ask.payload["round"]) if "round" in progress.ask.payload else None
        for name, why in progress.refused.items():
            if (refusal := (progress.ask.sequence, name)) not in self._refused:
                self._refused.add(refusal)
                note(self._run, "reply refused", site=name, step=progress.ask.step, round=number, why=why)
        self._sequence = progress.ask.sequence
        self._absent_since = {name: self._absent_since.get(name, now) for name in progress.absent}
        self._report(
            "running",
            step=progress.ask.step,
            round=number,
            replied=list(progress.replied),
            waiting=list(progress.waiting),
            absent=self._absent_since,
            refused=dict(progress.refused),
        )

    def work(self, make_engine: Callable[[RunSpecification], FlareEngine]) -> None:
        """Continue the run, and report how the job ended.

        A job that FLARE kept from before a restart does nothing, because the service has submitted another one.
        """
        if self._number < int(self._files.deployment().get("segments", 0)):
            return
        with locked_soon(self._run):
            self._report("running")
            self._work(make_engine)

    def _work(self, make_engine: Callable[[RunSpecification], FlareEngine]) -> None:
        try:
            self._go_on(make_engine)
        except RecalledError as error:
            self._report("ended", end="recalled", why=str(error))
        except TooFewRepliesError as error:
            self._report("ended", end="waiting", why=str(error))
        except (ClapError, OSError) as error:
            self._report("ended", end="failed", why=str(error))
        except Exception as error:
            self._report("ended", end="failed", why=f"unexpected {type(error).__name__} ({error})")
            raise
        else:
            self._report("ended", end="complete")

    def _go_on(self, make_engine: Callable[[RunSpecification], FlareEngine]) -> None:
        started = time.perf_counter()
        if finished(self._run) is not None:
            return
        self._files.check_not_forgotten()
        spec = read_specification(self._run)
        checkpoint = Checkpoint(self._run / "checkpoints")
        before = checkpoint.load()
        log = RoundLog(self._run / "rounds.jsonl")
        log.rewind(int(before.get("round", 0)))
        spent = float(before.get("seconds", np.array(0.0)))
        steps = partial(self._steps, spec, log, lambda: spent + time.perf_counter() - started)
        modes = (spec.secure_aggregation, spec.update_encoding, self._left_out)
        state = coordinate(steps, make_engine(spec), checkpoint, 0, spec.quorum(), *modes)
        resolved = ResolvedRun.from_array(state["agreement"]).with_options_of(spec)
        settled = replace(spec, threads=resolved.spec.threads, normalise=resolved.spec.normalise)
        write_json(self._run / "config.json", settled.as_json())  # with the resolved threads and normalisation
        finish(
            self._run,
            settled,
            {self._run: state},
            method=resolved.make_method(),
            plan=resolved.plan(),
            personalised={},
            features=resolved.features,
            dataset=test_dataset(spec),
            participants=len(spec.sites),
            baselines=None,
            resumed=bool(before),
            started=started - spent,
        )

    def _steps(self, spec: RunSpecification, log: RoundLog, seconds: Callable[[], float], state: State) -> Steps:
        agreed = yield from handshake(state, partial(resolved_run, spec))
        resolved = agreed.with_options_of(spec)
        dataset, method, plan = test_dataset(spec), resolved.make_method(), resolved.plan()

        def on_round(record: dict[str, Any]) -> None:
            answered = [name for name, there in zip(spec.sites, state[ANSWERED], strict=True) if there]
            tested = {} if dataset is None else test_round(spec, method, plan, dataset, state)
            state["seconds"] = np.array(seconds())
            log.append({**record, "answered": answered, "time": _now(), **tested})

        yield from method.coordinate(plan, state, on_round)
        if dataset is None and not spec.privacy:
            yield from _federated_evaluation(method, state)

    def _left_out(self, participant: str, why: str) -> None:
        note(self._run, "site left out", site=participant, why=why)

    def _report(self, state: str, **content: Any) -> None:
        job = {"number": self._number, "pid": os.getpid(), "state": state, "time": _now(), "sequence": self._sequence}
        self._files.write_job_status(**job, **content)


def _federated_evaluation(method: Method, state: State) -> Steps:
    """The final model evaluated on every site's own test videos."""
    if "evaluation.normal" in state:
        return
    replies = yield Ask("evaluate", "evaluation_histogram", method.final_question(state), lasting=False)
    for kind in ("normal", "abnormal"):
        counts = [np.asarray(reply.message[kind]) for reply in replies]
        state[f"evaluation.{kind}"] = np.sum(counts, axis=0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
