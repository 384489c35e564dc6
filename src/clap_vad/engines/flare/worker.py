"""The site's side of FLARE: a resident worker that hands questions to a site and its answers back."""

from __future__ import annotations

from abc import abstractmethod

from nvflare.apis.event_type import EventType
from nvflare.apis.executor import Executor
from nvflare.apis.fl_context import FLContext
from nvflare.apis.shareable import Shareable
from nvflare.apis.signal import Signal

from ...errors import ClapError
from ...federation.ask import Ask
from ...federation.messages import ImpossibleMessageError, Message
from ...federation.policy import RefusalError
from ...federation.wire import ask_from_wire, encode
from .envelope import FAILED, IMPOSSIBLE, OUTCOME, PAYLOAD, QUESTION, REFUSED, REPLIED, RUN, WHY

__all__ = ["FlareWorker"]


class FlareWorker(Executor):
    """Subclass it with what a site is; FLARE makes one when a job begins."""

    @abstractmethod
    def begin(self, kit: str) -> None:
        """The job begins; ``kit`` is the folder of the site's startup kit."""

    @abstractmethod
    def answer(self, run: str, ask: Ask) -> Message:
        """Answer a question of a run; may raise anything."""

    @abstractmethod
    def failed(self, run: str, ask: Ask | None, error: Exception) -> None:
        """Tell the site's operator why a question was not answered; nobody else is told."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook."""
        if event_type == EventType.START_RUN:
            self.begin(fl_ctx.get_engine().get_workspace().get_root_dir())

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """FLARE's hook: one question.

        A refusal says why, and an answer that the site's own exit held back which rule of its schema it breaks, without
        a number. Of a failure nothing leaves the site but that it failed.
        """
        out, run, ask = Shareable(), str(shareable.get(RUN)), None
        try:
            line, payload = shareable.get(QUESTION), shareable.get(PAYLOAD)
            if not isinstance(line, str) or not isinstance(payload, bytes):
                raise ClapError("not a question of this release")
            ask = ask_from_wire(line, payload)
            out[PAYLOAD] = encode(self.answer(run, ask))
            out[OUTCOME] = REPLIED
        except RefusalError as error:
            self.failed(run, ask, error)
            out[OUTCOME], out[WHY] = REFUSED, str(error)
        except ImpossibleMessageError as error:
            self.failed(run, ask, error)
            out[OUTCOME], out[WHY] = IMPOSSIBLE, str(error)
        except Exception as error:
            self.failed(run, ask, error)
            out[OUTCOME] = FAILED
        return out
