"""The way out of a site: its stages stand in one order, and each of these orders is needed for something."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clap_vad.core.statistics.accounting import Terms
from clap_vad.engines.inprocess import InProcessEngine
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask
from clap_vad.federation.checkpoint import Checkpoint, SiteState
from clap_vad.federation.conversation import NOTES, Turn
from clap_vad.federation.coordinator import coordinate
from clap_vad.federation.encoding import SiteEncoding
from clap_vad.federation.exit.write_ledger import LEDGER
from clap_vad.federation.messages import Message, schema
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.privacy import KEY, SitePrivacy
from clap_vad.federation.secure import SiteProtection
from clap_vad.federation.site import Site
from clap_vad.protection.signing import UnauthenticatedSigner

DIM = 2
NAMES = ("ada", "bob", "cyd")
COUNTS = {"ada": 10, "bob": 20, "cyd": 30}
TERMS = Terms(None, 1e-5, 1.0, 0.5, 0.1, 3, 2, 1, 5.0, 7.0)
ONE_STEP = 0.1
"""More than a step of 8 bits of these updates, which are of order 1."""


class Program:
    """Updates, counts and noisy sums that the test knows."""

    dim = DIM
    order = (Turn(("count",)), Turn(("train",), 9, "round"), Turn(("scores",), 9))

    def __init__(self, name: str) -> None:
        self.name, self.done = name, 0
        self.steps = {
            "count": (self._count, "segment_count"),
            "train": (self._train, "model_update"),
            "scores": (self._scores, "private_scores"),
        }

    def _count(self, payload: Message, state: dict) -> Message:
        self.done += 1
        state["counted"] = np.array(True)
        return {"count": COUNTS[self.name]}

    def _train(self, payload: Message, state: dict) -> Message:
        return update(self.name)

    def _scores(self, payload: Message, state: dict) -> Message:
        assert np.asarray(payload[KEY]).shape == (32,)
        return {"bins": np.zeros(16)}


class Account:
    """Of all runs: permits every question, and enters answers unless it is full."""

    def __init__(self, full: bool = False) -> None:
        self.full, self.entered = full, []

    def check_question(self, ask: Ask, name: str) -> None:
        pass

    def enter(self, ask: Ask, name: str, answer: str) -> None:
        if self.full:
            raise RefusalError("it would exceed a bound")
        self.entered.append(answer)


def update(name: str) -> Message:
    rng = np.random.default_rng(COUNTS[name])
    shapes = {key: field.sizes(DIM) for key, field in schema("model_update").fields.items() if "." in key}
    return {
        **{key: rng.uniform(-1, 1, shape).astype(np.float32) for key, shape in shapes.items()},
        "count": COUNTS[name],
        "loss": 0.0,
    }


def make_site(
    folder: Path, name: str = "ada", *, secure: bool = False, private: bool = False, int8: bool = False, **more
) -> Site:
    return Site(
        name,
        Program(name),
        SiteState(folder / name / "state"),
        folder / name,
        protection=SiteProtection(name, NAMES, UnauthenticatedSigner(), 3) if secure else None,
        privacy=SitePrivacy(name, TERMS, folder / name, one_process=False) if private else None,
        encoding=SiteEncoding(name, seed=4) if int8 else None,
        **more,
    )


def order(site: Site) -> list[str]:
    return [type(stage).__name__ for stage in site.stages]


def test_the_stages_stand_in_this_order(tmp_path):
    every = make_site(tmp_path, secure=True, private=True, int8=True, account=Account())
    assert order(every) == [
        "CheckPolicy",
        "CheckAccount",
        "TakeTurn",
        "CheckBudget",
        "MakeReply",
        "AddNoise",
        "Encode",
        "Mask",
        "EnterAccount",
        "WriteLedger",
        "KeepState",
    ]
    without_noise = make_site(tmp_path, "bob", secure=True, int8=True)
    assert order(without_noise) == [
        "CheckPolicy",
        "TakeTurn",
        "MakeReply",
        "Encode",
        "CheckRepeat",
        "Mask",
        "WriteLedger",
        "KeepState",
    ]


Change = Callable[[Site], Site]


def unchanged(site: Site) -> Site:
    return site


def swap(first: str, second: str) -> Change:
    def swapped(site: Site) -> Site:
        stages, names = list(site.stages), order(site)
        one, other = names.index(first), names.index(second)
        stages[one], stages[other] = stages[other], stages[one]
        site.stages = tuple(stages)
        return site

    return swapped


def summed(folder: Path, sites: list[Site], *asks: Ask, int8: bool = False) -> list[Message]:
    """The coordinator's sum, or mean, of each question."""
    got = []

    def steps(state):
        for ask in asks:
            replies = yield ask
            assert len(replies) == 1
            got.append(replies[0].message)

    encoding = "int8" if int8 else "float32"
    coordinate(steps, InProcessEngine(sites), Checkpoint(folder), DIM, secure=True, update_encoding=encoding)
    return got


def train(number: int) -> Ask:
    return Ask("train", "model_update", {"round": number}, lasting=False, total=sum(COUNTS.values()))


def the_sum_of_updates_in_8_bits_is_right(folder: Path, change: Change) -> bool:
    sites = [change(make_site(folder, name, secure=True, int8=True)) for name in NAMES]
    _, mean = summed(folder, sites, train(1), train(2), int8=True)
    total = sum(COUNTS.values())
    true = {
        key: sum(COUNTS[name] * np.asarray(update(name)[key], np.float64) for name in NAMES) / total
        for key in mean
        if "." in key
    }
    return all(np.abs(np.asarray(mean[key]) - value).max() < ONE_STEP for key, value in true.items())


def noise_is_within_the_sum(folder: Path, change: Change) -> bool:
    sites = [change(make_site(folder, name, secure=True, private=True)) for name in NAMES]
    (message,) = summed(folder, sites, Ask("scores", "private_scores"))
    return 0 < np.abs(np.asarray(message["bins"])).max() < 100


def a_sum_asked_again_is_the_same(folder: Path, change: Change) -> bool:
    """A coordinator that was killed, and begins from an older state of its own, over the same sites."""
    sites = [change(make_site(folder, name, secure=True)) for name in NAMES]
    first, again = (summed(folder / run, sites, Ask("count", "segment_count")) for run in ("first", "again"))
    return int(first[0]["count"]) == int(again[0]["count"]) == sum(COUNTS.values())


def the_ledger_holds_what_left(folder: Path, change: Change) -> bool:
    """Under masks, not the plain values."""
    sent = {}

    class Watched(InProcessEngine):
        def deliver(self, ask, check):
            replies = super().deliver(ask, check)
            sent.update({reply.participant: reply.message for reply in replies if ask.secure.phase == "mask"})
            return replies

    def steps(state):
        yield Ask("count", "segment_count")

    sites = [change(make_site(folder, name, secure=True)) for name in NAMES]
    coordinate(steps, Watched(sites), Checkpoint(folder), DIM, secure=True)
    lines = [json.loads(line) for line in (folder / "ada" / LEDGER).read_text().splitlines()]
    (line,) = (line for line in lines if line["protection"] == "masked")
    content = b"".join(key.encode() + np.asarray(sent["ada"][key]).tobytes() for key in sorted(sent["ada"]))
    return line["sha256"] == hashlib.sha256(content).hexdigest()


def what_the_account_refuses_stands_in_no_ledger(folder: Path, change: Change) -> bool:
    site = change(make_site(folder, account=Account(full=True)))
    with pytest.raises(RefusalError):
        site.handle(Ask("count", "segment_count"))
    return not (folder / "ada" / LEDGER).exists()


def the_account_holds_what_left(folder: Path, change: Change) -> bool:
    account = Account()
    sites = [change(make_site(folder, name, secure=True, account=account)) for name in NAMES[:1]]
    sites += [make_site(folder, name, secure=True) for name in NAMES[1:]]
    summed(folder, sites, Ask("count", "segment_count"))
    plain = hashlib.sha256(b"count" + np.int64(COUNTS["ada"]).tobytes()).hexdigest()
    return bool(account.entered) and plain not in account.entered


def what_is_refused_leaves_no_state(folder: Path, change: Change) -> bool:
    site = change(make_site(folder, account=Account(full=True)))
    with pytest.raises(RefusalError):
        site.handle(Ask("count", "segment_count"))
    return site.state(1) == {}


def what_the_policy_refuses_is_not_noted(folder: Path, change: Change) -> bool:
    site = change(make_site(folder, policy=Policy(())))
    with pytest.raises(RefusalError):
        site.handle(Ask("count", "segment_count"))
    notes = folder / "ada" / NOTES
    return not notes.exists() or not notes.read_text()


def what_is_out_of_turn_is_not_worked_out(folder: Path, change: Change) -> bool:
    site = change(make_site(folder))
    site.handle(Ask("count", "segment_count"))
    with pytest.raises(RefusalError):
        site.handle(Ask("count", "segment_count", {"another": 1}, sequence=1))
    return site.program.done == 1


def a_step_draws_from_the_key_of_its_budget(folder: Path, change: Change) -> bool:
    site = change(make_site(folder, private=True))
    return np.asarray(site.handle(Ask("scores", "private_scores"))["bins"]).shape == (16,)


def what_rounding_left_over_is_kept(folder: Path, change: Change) -> bool:
    sites = [change(make_site(folder, name, secure=True, int8=True)) for name in NAMES]
    summed(folder, sites, train(1), train(2), int8=True)
    return any(name.startswith("encoding.residual.") for name in sites[0].state(99))


NEEDED = [
    (the_sum_of_updates_in_8_bits_is_right, "Encode", "Mask"),
    (noise_is_within_the_sum, "AddNoise", "Mask"),
    (a_sum_asked_again_is_the_same, "CheckRepeat", "Mask"),
    (the_ledger_holds_what_left, "Mask", "WriteLedger"),
    (the_account_holds_what_left, "Mask", "EnterAccount"),
    (what_the_account_refuses_stands_in_no_ledger, "EnterAccount", "WriteLedger"),
    (what_is_refused_leaves_no_state, "EnterAccount", "KeepState"),
    (what_the_policy_refuses_is_not_noted, "CheckPolicy", "TakeTurn"),
    (what_is_out_of_turn_is_not_worked_out, "TakeTurn", "MakeReply"),
    (a_step_draws_from_the_key_of_its_budget, "CheckBudget", "MakeReply"),
    (what_rounding_left_over_is_kept, "Encode", "KeepState"),
]


@pytest.mark.parametrize(("holds", "first", "second"), NEEDED, ids=[case[0].__name__ for case in NEEDED])
def test_what_the_order_is_for_holds_in_it_and_not_in_another(tmp_path, holds, first, second):
    assert holds(tmp_path / "stated", unchanged)
    try:
        kept = holds(tmp_path / "swapped", swap(first, second))
    except (ClapError, LookupError, AssertionError):
        kept = False
    assert not kept
