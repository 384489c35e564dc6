"""The site's side of FLARE: a resident worker that passes questions to a site and returns its replies."""

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
    """Subclass it with a site's answers; FLARE creates one per job."""

    @abstractmethod
    def begin(self, kit: str) -> None:
        """Called when the job begins; ``kit`` is the folder of the site's startup kit."""

    @abstractmethod
    def answer(self, run: str, ask: Ask) -> Message:
        """Answer a question of a run; may raise any exception."""

    @abstractmethod
    def failed(self, run: str, ask: Ask | None, error: Exception) -> None:
        """Report to the site's operator, and to nobody else, why a question was not answered."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook."""
        if event_type == EventType.START_RUN:
            self.begin(fl_ctx.get_engine().get_workspace().get_root_dir())

    def execute(self, task_name: str, shareable: Shareable, fl_ctx: FLContext, abort_signal: Signal) -> Shareable:
        """FLARE's hook: answer one question.

        A refusal is sent with its reason. For a reply that the site itself withheld, the violated rule of the schema is
        sent, without numbers. For a failure only the fact is sent.
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
