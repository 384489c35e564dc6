"""The engine over FLARE, with FLARE's controller played: what it makes of what comes back."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("nvflare")

from nvflare.apis.shareable import Shareable

from clap_vad.engines.flare.engine import FlareEngine
from clap_vad.engines.flare.envelope import FAILED, IMPOSSIBLE, OUTCOME, PAYLOAD, QUESTION, REPLIED, WHY
from clap_vad.engines.flare.worker import FlareWorker
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, State
from clap_vad.federation.checkpoint import Checkpoint
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Quorum
from clap_vad.federation.left_out import left_out
from clap_vad.federation.messages import ImpossibleMessageError
from clap_vad.federation.wire import ask_to_wire, encode

NAMES = ("ada", "bob", "cyd", "dee")
Answer = Callable[[str], Shareable]


def shareable(outcome: str, **content: object) -> Shareable:
    result = Shareable()
    result[OUTCOME] = outcome
    for key, value in content.items():
        result[key] = value
    return result


def count(number: object) -> Shareable:
    return shareable(REPLIED, **{PAYLOAD: encode({"count": np.asarray(number)})})


class Controller:
    """Hands a task out at once, and its results back."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, []

    def broadcast(self, task, fl_ctx, targets, min_responses):
        self.asked.append(tuple(targets))
        for name in targets:
            client_task = SimpleNamespace(client=SimpleNamespace(name=name), result=None)
            task.before_task_sent_cb(client_task, fl_ctx)
            client_task.result = self.answer(name)
            task.result_received_cb(client_task, fl_ctx)

    def cancel_task(self, task):
        pass


def asked(tmp_path, answer: Answer, quorum: Quorum | None = None) -> tuple[list[dict], State, list]:
    """Two questions: the counts that the steps were sent, the final state, and whom FLARE was to ask."""
    clients = [SimpleNamespace(name=name) for name in NAMES]
    context = SimpleNamespace(get_engine=lambda: SimpleNamespace(get_clients=lambda: clients))
    controller, got = Controller(answer), []
    abort, contact, recalled = SimpleNamespace(triggered=False), lambda name: 0.0, lambda: False
    engine = FlareEngine(NAMES, "run", controller, context, abort, contact, recalled, lambda progress: None)

    def steps(state):
        for _ in range(2):
            replies = yield Ask("label", "segment_count", lasting=False)
            got.append({reply.participant: int(reply.message["count"]) for reply in replies})

    state = coordinate(steps, engine, Checkpoint(tmp_path), 8, quorum or Quorum())
    return got, state, controller.asked


LIES = {
    "negative": (count(-1), "'count' is outside"),
    "of another type": (count(1.0), "'count' is float64"),
    "no message": (shareable(REPLIED, **{PAYLOAD: b"\x00" * 40}), "not a readable message"),
    "too long": (shareable(REPLIED, **{PAYLOAD: b"\x00" * 10**6}), "refused unread"),
    "no bytes": (shareable(REPLIED, **{PAYLOAD: "text"}), "sent an invalid reply"),
    "held back": (shareable(IMPOSSIBLE, **{WHY: "'loss' holds NaN"}), "withheld by the site: 'loss' holds NaN"),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("quorum", [Quorum(), Quorum(4), Quorum(2)])
def test_an_implausible_reply_excludes_its_site_and_nobody_waits_for_it(tmp_path, lie, quorum):
    result, why = LIES[lie]
    got, state, whom = asked(tmp_path, lambda name: result if name == "cyd" else count(5), quorum)
    assert got == [dict.fromkeys(("ada", "bob", "dee"), 5)] * 2
    assert left_out(state).keys() == {"cyd"} and why in left_out(state)["cyd"]
    assert whom == [NAMES, ("ada", "bob", "dee")]


def test_a_silent_site_is_not_malicious(tmp_path):
    with pytest.raises(ClapError, match="needs 4 sites, but too few can answer it"):
        asked(tmp_path, lambda name: shareable(FAILED) if name == "cyd" else count(5))
    got, state, whom = asked(tmp_path / "two", lambda name: shareable(FAILED) if name == "cyd" else count(5), Quorum(2))
    assert left_out(state) == {} and whom == [NAMES, NAMES] and len(got[1]) == 3


class Worker(FlareWorker):
    """Its site's exit holds every answer back."""

    noted: str = ""

    def begin(self, kit):
        pass

    def answer(self, run, ask):
        raise ImpossibleMessageError("participant 'cyd', message 'model_update': 'loss' holds NaN or infinity")

    def failed(self, run, ask, error):
        self.noted = str(error)


def test_a_worker_reports_what_its_site_withheld():
    question, worker = Shareable(), Worker()
    question[QUESTION], question[PAYLOAD] = ask_to_wire(Ask("train", "model_update", accepted={}))
    out = worker.execute("ask", question, None, None)
    assert out[OUTCOME] == IMPOSSIBLE and "'loss' holds NaN" in out[WHY] and worker.noted == out[WHY]
    assert PAYLOAD not in out
