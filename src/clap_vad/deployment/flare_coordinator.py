"""The only class that a FLARE job may name at the coordinator."""

from __future__ import annotations

import time
from pathlib import Path

from nvflare.apis.fl_context import FLContext
from nvflare.apis.signal import Signal

from ..engines.flare.controller import FlareController
from ..engines.flare.engine import FlareEngine
from ..errors import ClapError
from ..persistence import read_json
from ..specification.run import RunSpecification
from .job import Job

__all__ = ["Coordinator"]


class Coordinator(FlareController):
    """Continues a run at the coordinator.

    Args:
        run: the run's folder.
        id: of the run at the sites.
        number: of this job within the run.
        contacts: file in which the coordinator's service records the last contact of each site.
    """

    def __init__(self, run: str, id: str, number: int, contacts: str) -> None:
        super().__init__()
        self._run, self._id, self._number, self._contacts = Path(run), id, number, Path(contacts)

    def work(self, fl_ctx: FLContext, abort_signal: Signal) -> None:
        """Do the job."""
        job = Job(self._run, self._number)

        def make_engine(spec: RunSpecification) -> FlareEngine:
            engine = FlareEngine(
                spec.sites,
                self._id,
                self,
                fl_ctx,
                abort_signal,
                contact=self._contact,
                recalled=job.recalled,
                on_progress=job.progress,
            )
            return self.watch(engine)

        job.work(make_engine)

    def _contact(self, site: str) -> float | None:
        try:
            last = read_json(self._contacts).get(site)
        except (ClapError, AttributeError):
            return None
        return None if last is None else time.time() - last
