"""Rounds in which only some participants take part, and participants that do less than they were asked to."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare

from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.rounds import training_rounds
from clap_vad.datasets.dataset import Dataset
from clap_vad.detector.network import initial_weights
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, Reply
from clap_vad.specification.reading import options_from
from clap_vad.specification.run import RunSpecification
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.resolution import specify
from synthetic import SCENES, make_dataset, make_plan

QUICK = {"min_steps": 0, "local_epochs": 1, "refine": "off"}
DIM = 16
WEIGHTS = sum(value.nbytes for value in initial_weights(DIM, 0).values())


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", videos=3, test=False))


def run(dataset: Dataset, folder: Path, method: str = "clap", options=None, **plan):
    """Final state of a federation of the four scenes, and its log of rounds."""
    held = {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}
    made = make_method(method, QUICK if options is None else options)
    state = Federation(folder, dataset, held, make_plan(**plan), made).run()
    return state, [json.loads(line) for line in (folder / "rounds.jsonl").read_text().splitlines()]


def weights_of(state) -> dict[str, np.ndarray]:
    return {name: value for name, value in state.items() if name.startswith("weights.")}


def trained(folder: Path) -> dict[int, list[str]]:
    """Who sent an update in which round, by the sites' own ledgers."""
    found: dict[int, list[str]] = {}
    for scene in SCENES:
        for line in (folder / "sites" / scene / "ledger.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if entry["step"] == "train":
                found.setdefault(entry["round"], []).append(scene)
    return found


@pytest.mark.parametrize(("fraction", "taking"), [(0.01, 1), (0.25, 1), (0.5, 2), (0.75, 3), (1.0, 4)])
def test_so_many_take_part_in_each_round_and_no_more_travels(dataset, tmp_path, fraction, taking):
    state, log = run(dataset, tmp_path, rounds=3, fraction=fraction)
    rounds = trained(tmp_path)
    assert [len(rounds[number]) for number in (1, 2, 3)] == [taking] * 3
    for record in log:
        assert record["participants"] == taking
        assert record["bytes_up"] == taking * (WEIGHTS + 8 + 8)
        assert record["bytes_down"] == taking * (WEIGHTS + 8)
    # Labels and the threshold are made by everybody: three numbers, one, and a histogram.
    assert int(state["bytes_up"]) == 3 * taking * (WEIGHTS + 16) + 4 * (24 + 8 + 8 * 4096)


def test_draws_differ_between_rounds_and_seeds_and_come_back(dataset, tmp_path):
    ends, draws = {}, {}
    for name, seed in (("a", 0), ("again", 0), ("other", 1)):
        ends[name], _ = run(dataset, tmp_path / name, rounds=8, fraction=0.5, seed=seed)
        draws[name] = trained(tmp_path / name)
    assert len({tuple(drawn) for drawn in draws["a"].values()}) >= 3
    assert set(itertools.chain(*draws["a"].values())) == set(SCENES)
    assert draws["a"] == draws["again"] != draws["other"]
    for name, value in ends["a"].items():
        np.testing.assert_array_equal(ends["again"][name], value)


def played(ask: Ask, counts: dict[str, int]) -> list[Reply]:
    """Replies of the participants asked: each moves every weight by a thousandth of its own count."""
    replies = []
    for name in ask.targets:
        update = {
            key: np.full_like(w, counts[name] * 1e-3) for key, w in ask.payload.items() if key.startswith("weights.")
        }
        moved = {key.replace("weights.", "update.", 1): value for key, value in update.items()}
        replies.append(Reply(name, {**moved, "count": counts[name], "loss": 0.0}))
    return replies


def test_every_set_of_participants_is_as_likely_and_only_theirs_is_averaged():
    """The coordinator alone, its sites played: 600 rounds, two of four participants in each."""
    counts = {"north": 1, "south": 2, "east": 3, "west": 5}
    state = {"bytes_up": np.array(0), "bytes_down": np.array(0), "segments": np.array(11)}
    steps = training_rounds(make_plan(rounds=600, fraction=0.5, dim=1), state, lambda record: None)
    drawn: Counter = Counter()
    ask = next(steps)
    while ask is not None:
        drawn[ask.targets] += 1
        one, other = (counts[name] for name in ask.targets)
        before = ask.payload["weights.layer3.bias"]
        try:
            ask = steps.send(played(ask, counts))
        except StopIteration:
            ask = None
        way = state["weights.layer3.bias"] - before
        np.testing.assert_allclose(1e3 * way, (one**2 + other**2) / (one + other), rtol=1e-3)
    pairs = list(itertools.combinations(SCENES, 2))  # in the participants' order
    assert drawn.keys() == set(pairs)
    assert drawn.total() == 600
    assert chisquare([drawn[pair] for pair in pairs]).pvalue > 0.01


def schedules(dataset: Dataset, stragglers: float, rounds: int = 100, **options) -> list[tuple[float, ...]]:
    """Learning rates of every participant's epochs in each round."""
    held = {scene: [v for v in dataset.train_videos if v.startswith(scene)] for scene in SCENES}
    method = make_method("clap", {"local_epochs": 4, **options})
    federation = Federation(Path("unused"), dataset, held, make_plan(stragglers=stragglers), method)
    sites = [federation.program(scene) for scene in SCENES]
    return [site.schedule(number).lr for number in range(1, rounds + 1) for site in sites]


def test_stragglers_do_fewer_epochs_but_one_at_least(dataset):
    epochs = [len(lr) for lr in schedules(dataset, 0.3)]
    late = [n for n in epochs if n < 4]
    assert binomtest(len(late), len(epochs), 0.3).pvalue > 0.01
    assert chisquare([late.count(n) for n in (1, 2, 3)]).pvalue > 0.01
    assert set(epochs) == {1, 2, 3, 4}
    assert {len(lr) for lr in schedules(dataset, 0.0)} == {4}
    assert {len(lr) for lr in schedules(dataset, 1.0)} == {1, 2, 3}


def test_stragglers_are_drawn_for_each_participant_and_round_alike_every_time(dataset):
    once, again = schedules(dataset, 0.5, 20), schedules(dataset, 0.5, 20)
    assert once == again
    by_round = [tuple(map(len, once[i : i + 4])) for i in range(0, len(once), 4)]
    assert len(set(by_round)) > 10
    assert all(len(set(column)) > 2 for column in zip(*by_round, strict=True))


def test_milestones_count_epochs_that_a_straggler_left_out(dataset):
    whole = schedules(dataset, 0.0, 5, lr_milestones="6,13")
    for full, own in zip(whole, schedules(dataset, 1.0, 5, lr_milestones="6,13"), strict=True):
        assert own == full[: len(own)]
    np.testing.assert_allclose(whole[4], [0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("method", ["clap", "c2fpl", "gcl"])
@pytest.mark.usefixtures("small_generator")
def test_stragglers_of_two_epochs_are_sites_of_one(dataset, tmp_path, method):
    """Who can do but one epoch less does one: the model is that of one local epoch, bit for bit."""
    own = {"clap": {}, "c2fpl": {"lr_milestones": ""}, "gcl": {"pretrain_rounds": 0}}[method]
    ends = {}
    for name, epochs, stragglers in (("late", 2, 1.0), ("one", 1, 0.0), ("two", 2, 0.0)):
        options = {**own, "min_steps": 0, "local_epochs": epochs}
        state, _ = run(dataset, tmp_path / name, method, options, stragglers=stragglers, rounds=2)
        ends[name] = weights_of(state)
    for name, value in ends["one"].items():
        np.testing.assert_array_equal(ends["late"][name], value)
        assert not np.array_equal(ends["two"][name], value)


def configure(dataset: Dataset, options=None, **changes) -> RunSpecification:
    given = {
        "method": "clap", "setting": "collaborative", "supervision": "us", "strategy": "fedavg", "protocol": None,
        "rounds": 1, "seed": 0, "threads": 1, "normalise": "none", "options": options or {},
    }  # fmt: skip
    return specify(dataset, options_from({**given, **changes}))


def test_stragglers_are_refused_where_no_epoch_can_be_left_out(dataset):
    with pytest.raises(ClapError, match=r"--stragglers: needs rounds of 2 or more epochs"):
        configure(dataset, {"local_epochs": 1}, stragglers=0.5)
    assert configure(dataset, {"local_epochs": 1}, stragglers=0.0).stragglers == 0
    assert configure(dataset, {"local_epochs": 2}, stragglers=0.5).stragglers == 0.5


@pytest.mark.parametrize(
    "changes",
    [{"fraction": 0.0}, {"fraction": 1.01}, {"fraction": float("nan")}, {"stragglers": -0.1}, {"stragglers": 1.1},
     {"stragglers": float("nan")}, {"labelled_participants": 0.0}, {"labelled_participants": 1.5}],
    ids=str,
)  # fmt: skip
def test_shares_out_of_range_are_named(dataset, changes):
    (name,) = changes
    with pytest.raises(ClapError, match=f"--{name.replace('_', '-')} must be"):
        configure(dataset, **changes)
