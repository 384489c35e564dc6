"""The two classes that a FLARE job names, one for each side; no job can name any other."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from nvflare.apis.fl_context import FLContext
from nvflare.apis.signal import Signal

from ..engines.flare.controller import FlareController
from ..engines.flare.engine import FlareEngine
from ..engines.flare.worker import FlareWorker
from ..errors import ClapError
from ..federation.ask import Ask
from ..federation.messages import Message
from ..federation.policy import RefusalError
from ..persistence import read_json
from ..workflows.configuration import RunConfig
from .host import SiteHost
from .log import note
from .segment import Segment
from .site_home import SiteHome

__all__ = ["Coordinator", "Worker"]


class Coordinator(FlareController):
    """At the coordinator: goes on with a run.

    Args:
        run: the run's folder.
        id: under which sites know the run.
        number: of this job within the run.
        contacts: file in which the coordinator's service notes when it last heard of each site.
    """

    def __init__(self, run: str, id: str, number: int, contacts: str) -> None:
        super().__init__()
        self._run, self._id, self._number, self._contacts = Path(run), id, number, Path(contacts)

    def work(self, fl_ctx: FLContext, abort_signal: Signal) -> None:
        """The job."""
        segment = Segment(self._run, self._number)

        def make_engine(config: RunConfig) -> FlareEngine:
            engine = FlareEngine(
                config.sites,
                self._id,
                self,
                fl_ctx,
                abort_signal,
                contact=self._contact,
                recalled=segment.recalled,
                on_progress=segment.progress,
            )
            return self.watch(engine)

        segment.work(make_engine)

    def _contact(self, site: str) -> float | None:
        try:
            last = read_json(self._contacts).get(site)
        except (ClapError, AttributeError):
            return None
        return None if last is None else time.time() - last


class Worker(FlareWorker):
    """At a site: answers by the site's own dataset, under the site's own policy."""

    def __init__(self) -> None:
        super().__init__()
        self._home: SiteHome | None = None
        self._host: SiteHost | None = None

    def begin(self, kit: str) -> None:
        """The kit lies in the site's home, which says where its dataset is."""
        self._home = SiteHome.open(Path(kit).parent)
        self._host = SiteHost(self._home.name, self._home.dataset, self._home.path, self._home.path / "policy.json")

    def answer(self, run: str, ask: Ask) -> Message:
        """Answer one question."""
        assert self._host is not None  # begin comes first
        return self._host.handle(run, ask)

    def failed(self, run: str, ask: Ask | None, error: Exception) -> None:
        """Into the site's own log."""
        assert self._home is not None
        kind = "refused" if isinstance(error, RefusalError) else "failed"
        question = {"step": ask.step, "schema": ask.reply} if ask is not None else {}
        note(self._home.path, kind, run=run, **question, why=str(error) or type(error).__name__)
        if not isinstance(error, ClapError):
            logging.getLogger(__name__).exception("a question was not answered")
