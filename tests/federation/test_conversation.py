"""What a site notes of its questions: no kill, process or older state makes it answer twice in two ways."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from waiting import LIMIT

from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.federation.ask import Ask, Reply
from clap_vad.federation.checkpoint import Checkpoint, SiteState
from clap_vad.federation.conversation import NOTES, Conversation, Turn
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.engine import Quorum, TooFewRepliesError
from clap_vad.federation.messages import Message
from clap_vad.federation.policy import RefusalError
from clap_vad.federation.secure import SiteProtection
from clap_vad.federation.site import Site
from clap_vad.protection.signing import UnauthenticatedSigner

ORDER = (
    Turn(("moments",)),
    Turn(("normalise",), lasting=True),
    Turn(("train", "train_all"), 3, "round"),
    Turn(("settle",), 3, "round", first=0),
    Turn(("calibrate",)),
)
NAMES = ("ada", "bob", "cyd", "dee", "eve", "fay")


class Program:
    """Counts what it was told; answers with that."""

    dim = 4

    def __init__(self, order: tuple[Turn, ...] = ORDER) -> None:
        self.order = order
        self.steps = {step: (self._tell, "segment_count") for turn in order for step in turn.steps}
        self.add = 0

    def _tell(self, payload: Message, state: dict) -> Message:
        if payload.get("fail"):
            raise OSError("a disk")
        state["told"] = np.array(int(state.get("told", 0)) + int(payload.get("number", 1)))
        return {"count": int(state["told"]) + self.add}


def site(folder: Path, order: tuple[Turn, ...] = ORDER) -> Site:
    """A process that knows nothing but its files."""
    return Site("ada", Program(order), SiteState(folder / "state"), folder)


def ask(step: str, sequence: int, accepted: int | None = None, **payload) -> Ask:
    given = {"ada": sequence - 1 if accepted is None else accepted}
    return Ask(step, "segment_count", payload, sequence=sequence, accepted=given)


def notes(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / NOTES).read_text().splitlines()]


HONEST = [
    ask("moments", 0),
    ask("normalise", 1),
    ask("train", 2, round=1),
    ask("train", 3, round=2),
    ask("train", 4, round=3),
    ask("settle", 5),
    ask("settle", 6, round=1),
    ask("settle", 7, round=2),
    ask("calibrate", 8),
]


def test_an_honest_run_is_answered_also_where_questions_are_missed_repeated_and_done_in_silence(tmp_path):
    assert [site(tmp_path / "all").handle(each)["count"] for each in HONEST] == list(range(1, 10))
    here = site(tmp_path / "some")
    silent = replace(HONEST[1], reply="acknowledgement", silent=True, accepted={"ada": -1})
    assert here.handle(silent) == here.handle(silent) == {}
    for each in (HONEST[3], HONEST[3], HONEST[8], HONEST[8]):
        before = 1 if each.step == "train" else 3
        assert here.handle(replace(each, accepted={"ada": before}))["count"] == 2 + (before == 3)
    assert here.handle(replace(HONEST[8], reply="acknowledgement", silent=True)) == {}


@pytest.mark.parametrize(
    ("before", "asked", "says"),
    [
        (0, ask("train", 0, round=1), "asked for 'train' before 'normalise'; refused"),
        (2, ask("moments", 2), "asked for 'moments' after 'normalise'; refused"),
        (1, ask("moments", 1), "asked for 'moments' more than 1 time, which is all that this run needs; refused"),
        (1, ask("moments", 0, number=2), "asked for 'moments' more than 1 time"),
        (3, ask("train", 3, round=1), "asked for 'train' with round 1 after 1; they must rise; refused"),
        (4, ask("train_all", 4, round=2), "asked for 'train_all' with round 2 after 2"),
        (5, ask("train", 5, round=3), "asked for 'train' or 'train_all' more than 3 times"),
        (3, ask("train", 3, round=4), "step 'train': its 'round' must be a whole number from 1 to 3; refused"),
        (3, ask("train", 3), "must be a whole number from 1 to 3"),
        (5, ask("settle", 5, round=3), "must be a whole number from 0 to 2"),
        (6, ask("settle", 6), "asked for 'settle' with round 0 after 0"),
        (9, ask("train", 9, round=3), "asked for 'train' after 'calibrate'; refused"),
    ],
)
def test_what_is_out_of_turn_is_refused_by_every_process(tmp_path, before, asked, says):
    for each in HONEST[:before]:
        site(tmp_path).handle(each)
    told = len(notes(tmp_path)) if before else 0
    for accepted in (asked.accepted, {"ada": -1} if not before else {"ada": 0}):
        with pytest.raises(RefusalError) as refusal:
            site(tmp_path).handle(replace(asked, accepted=accepted))
        assert says in str(refusal.value)
    assert (len(notes(tmp_path)) if before else 0) == told


def test_a_step_that_has_no_turn_is_not_answered(tmp_path):
    here = site(tmp_path)
    here.program.steps["more"] = here.program.steps["moments"]
    with pytest.raises(RefusalError, match="asked for 'more', which is not a step of this run; refused"):
        here.handle(ask("more", 0))


def test_from_an_older_state_a_site_does_not_answer_otherwise(tmp_path):
    here = site(tmp_path)
    for each in HONEST[:4]:
        here.handle(each)
    with pytest.raises(RefusalError, match="'train' was asked before, and its answer would differ now; refused"):
        here.handle(replace(HONEST[3], accepted={"ada": -1}))
    other = site(tmp_path)
    other.program.add = 1  # its videos have changed
    with pytest.raises(RefusalError, match="its answer would differ now"):
        other.handle(HONEST[3])


def test_a_question_that_failed_or_was_refused_may_come_again_but_no_other_in_its_place(tmp_path):
    failing = ask("moments", 0, fail=True)
    for _ in range(2):
        with pytest.raises(OSError, match="a disk"):
            site(tmp_path).handle(failing)
    with pytest.raises(RefusalError, match="more than 1 time"):
        site(tmp_path).handle(HONEST[0])
    here = site(tmp_path)
    here.program.steps["moments"] = (lambda payload, state: {"count": 5}, "segment_count")  # it was mended
    assert here.handle(failing) == {"count": 5}


@pytest.mark.parametrize("cut", [2, 40])
def test_a_torn_last_line_is_an_answer_that_was_never_made(tmp_path, cut):
    site(tmp_path).handle(HONEST[0])
    file = tmp_path / NOTES
    whole = file.read_bytes()
    first = whole.splitlines(keepends=True)[0]
    file.write_bytes(whole[:-cut])  # of what it answered
    assert site(tmp_path).handle(HONEST[0])["count"] == 1
    file.write_bytes(first[:-cut])  # of what it was asked
    assert site(tmp_path).handle(replace(HONEST[0], payload={"number": 3}))["count"] == 3
    with pytest.raises(RefusalError, match="more than 1 time"):
        site(tmp_path).handle(HONEST[0])


def one_of_many(folder: Path, number: int, barrier) -> bool:
    conversation = Conversation("ada", ORDER, folder)
    barrier.wait(LIMIT)
    try:
        conversation.ask(ask("moments", 0, number=number), "segment_count")
    except RefusalError:
        return False
    return True


def _try(folder: Path, number: int, barrier, found) -> None:
    found.put(one_of_many(folder, number, barrier))


def test_of_many_processes_at_once_one_is_first(tmp_path):
    context = multiprocessing.get_context("spawn")
    barrier, found = context.Barrier(4), context.Queue()
    workers = [context.Process(target=_try, args=(tmp_path, number, barrier, found)) for number in range(4)]
    for worker in workers:
        worker.start()
    results = [found.get(timeout=2 * LIMIT) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(results) == [False, False, False, True]
    assert len(notes(tmp_path)) == 1


# Under masks.


class Phases(InProcessEngine):
    """Sites of which some do not answer in a phase."""

    def __init__(self, sites, away: Callable[[str, str], bool]) -> None:
        super().__init__(sites)
        self._away = away

    def deliver(self, ask, check) -> list[Reply]:
        there = tuple(name for name in ask.targets if not self._away(ask.secure.phase, name))
        return super().deliver(replace(ask, targets=there), check)


def summed(folder: Path, away: Callable[[str, str], bool], coordinator: str = "coordinator") -> tuple[int, set[str]]:
    """The sum that a coordinator with a memory of this name learns, and over whom."""
    sites = []
    for number, name in enumerate(NAMES):
        program = Program((Turn(("tell",)),))
        program.add = 10**number
        protection = SiteProtection(name, NAMES, UnauthenticatedSigner(), 3)
        states = SiteState(folder / name / "state")
        sites.append(Site(name, program, states, folder / name, protection=protection))
    got = []

    def steps(state):
        got.extend((yield Ask("tell", reply="segment_count", lasting=False)))

    coordinate(steps, Phases(sites, away), Checkpoint(folder / coordinator), 4, Quorum(3), secure=True)
    return int(got[0].message["count"]), set(got[0].participant.split(", "))


def everybody(phase: str, name: str) -> bool:
    return False


def without(*names: str, since: str = "advertise") -> Callable[[str, str], bool]:
    order = ("advertise", "share", "mask", "unmask")
    return lambda phase, name: name in names and order.index(phase) >= order.index(since)


@pytest.mark.parametrize("first", ["mask", "share", "advertise"])
def test_the_same_question_is_not_summed_again_with_one_more(tmp_path, first):
    """The difference of both sums would be what that one said."""
    total, members = summed(tmp_path, without("fay", since=first))
    assert total == 5 + 11111
    assert "fay" not in members
    with pytest.raises(RefusalError, match="to be summed again, over other sites; refused"):
        summed(tmp_path, everybody, "one that has forgotten")
    assert summed(tmp_path, without("fay"), "another that has forgotten") == (total, members)


def test_a_sum_that_was_lost_as_it_was_opened_is_made_again_over_the_same(tmp_path):
    def lost(phase: str, name: str) -> bool:
        return without("fay", since="mask")(phase, name) or (phase == "unmask" and name in NAMES[:3])

    with pytest.raises(TooFewRepliesError, match="phase 'unmask'"):
        summed(tmp_path, lost)
    with pytest.raises(TooFewRepliesError, match="sites unmask no other sum of the same answers; eve must be there"):
        summed(tmp_path, without("eve"))
    total, members = summed(tmp_path, everybody)
    assert (total, members) == (5 + 11111, set(NAMES[:5]))


def test_a_sum_that_came_to_no_opening_may_be_over_whom_is_there(tmp_path):
    with pytest.raises(TooFewRepliesError, match="phase 'mask'"):
        summed(tmp_path, without("ada", "bob", "cyd", since="mask"))
    assert summed(tmp_path, without("ada"))[0] == 5 + 111110
