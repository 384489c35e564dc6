"""``--segregation federated`` of CLAP: the common mixture, what leaves a site, and the effect of stops and absences."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from interrupted import run_with_stops
from lossy import Fate, LossyEngine, Moment

from clap_vad.algorithms.method import make_method
from clap_vad.core.pseudo_labels.federated_mixture import MAX_STEPS, STARTS
from clap_vad.core.pseudo_labels.mixture import anomalous_videos
from clap_vad.datasets.dataset import Dataset
from clap_vad.errors import ClapError
from clap_vad.federation.ask import Ask, State
from clap_vad.federation.checkpoint import Checkpoint, SiteState
from clap_vad.federation.coordinator import Quorum, coordinate
from clap_vad.federation.messages import schemas
from clap_vad.federation.policy import Policy, RefusalError
from clap_vad.federation.site import Site
from clap_vad.workflows.federate import Federation
from clap_vad.workflows.label import label
from synthetic import make_dataset, make_plan

FEDERATED = {"segregation": "federated"}
ODD = {  # every third video holds a burst: -1 and -4
    "single-anomalous": ["north-train-1"],
    "single-normal": ["north-train-0"],
    "only-anomalous": ["south-train-1", "south-train-4", "north-train-4"],
    "only-normal": ["south-train-0", "south-train-2", "south-train-3", "north-train-2", "north-train-3"],
    "mostly-anomalous": ["east-train-1", "east-train-4", "west-train-4", "east-train-0"],
    "rest": ["east-train-2", "east-train-3", "west-train-0", "west-train-1", "west-train-2", "west-train-3"],
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    return Dataset(make_dataset(tmp_path_factory.mktemp("data") / "d", test=False))


def federation(
    folder: Path,
    dataset: Dataset,
    held: Mapping[str, Sequence[str]],
    labelled: Sequence[str] = (),
    rounds: int = 0,
    **options: str,
) -> Federation:
    plan = make_plan(rounds=rounds, normalise="federated")
    return Federation(folder, dataset, held, plan, make_method("clap", options), labelled)


def judged(made: Federation, state: State) -> set[str]:
    """Videos that their own sites judge anomalous."""
    found = set()
    for site in made.sites():
        own = site.state(int(state["sequence"]))["anomalous"]
        found |= set(itertools.compress(made.participants[site.participant], own))
    return found


def ledger(made: Federation, site: str) -> list[dict]:
    file = made.folder / "sites" / site / "ledger.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()]


def bursts(videos: Sequence[str]) -> set[str]:
    return {video for video in videos if video.endswith(("-1", "-4"))}


def test_participants_with_few_or_odd_videos_use_the_common_mixture(dataset, tmp_path):
    """One video, only anomalous ones, mostly anomalous ones: alone such a site cannot know."""
    made = federation(tmp_path / "federated", dataset, ODD, **FEDERATED)
    assert judged(made, made.run()) == bursts(dataset.train_videos)
    alone = federation(tmp_path / "local", dataset, ODD)
    found = judged(alone, alone.run())
    assert "north-train-1" not in found  # a single video cannot be split
    assert not bursts(ODD["only-anomalous"]) <= found


def test_who_holds_which_video_does_not_matter(dataset, tmp_path):
    states = []
    for name, held in {"odd": ODD, "one": {"all": dataset.train_videos}}.items():
        made = federation(tmp_path / name, dataset, held, **FEDERATED)
        states.append(made.run())
        assert judged(made, states[-1]) == bursts(dataset.train_videos)
    for name in ("mixture.weights", "mixture.means", "mixture.covariances", "gaussians"):
        np.testing.assert_allclose(states[0][name], states[1][name], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("rule", ["size", "calm"])
def test_where_most_videos_are_anomalous_the_calm_rule_holds(dataset, tmp_path, rule):
    videos = [v for v in dataset.train_videos if v.endswith(("-1", "-4"))] + ["north-train-0", "west-train-2"]
    held = {"a": videos[:1], "b": videos[1:6], "c": videos[6:]}
    made = federation(tmp_path / rule, dataset, held, normal_cluster=rule, **FEDERATED)
    found = judged(made, made.run())
    assert found == (bursts(videos) if rule == "calm" else set(videos) - bursts(videos))


def test_the_common_density_is_that_of_the_pooled_normal_segments(dataset, tmp_path):
    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    state = made.run()
    normal = []
    for site in made.sites():
        own, program = site.state(int(state["sequence"])), made.program(site.participant)
        normal += [
            own["magnitude"][part] for part, bad in zip(program.slices, own["anomalous"], strict=True) if not bad
        ]
    m = np.concatenate(normal)
    np.testing.assert_allclose(state["gaussians"], [[len(m), m.mean(), m.var(ddof=1)]], rtol=1e-9)


def test_labels_depend_on_the_data_and_not_on_the_seed(dataset, tmp_path):
    for name, changes in {"a": {}, "b": {"seed": 7}, "local": {"segregation": "local"}}.items():
        label(dataset.path, tmp_path / f"{name}.npz", **{**FEDERATED, **changes})
    a, b = (dict(np.load(tmp_path / f"{name}.npz")) for name in ("a", "b"))
    assert all(np.array_equal(a[video], b[video]) for video in a)
    assert {video for video in a if a[video].any()} == bursts(list(a))


@pytest.mark.parametrize("setting", ["centralized", "local"])
def test_in_other_settings_a_participant_is_a_federation_of_its_own(dataset, tmp_path, setting):
    found = label(dataset.path, tmp_path / "y.npz", setting=setting, **FEDERATED)
    assert found["labelled_videos"] >= 4


# What leaves a site.


def schemas_in_order(lines: Sequence[dict]) -> list[str]:
    """Schemas of a ledger, steps of EM as one."""
    return [name for name, _ in itertools.groupby(line["schema"] for line in lines)]


def test_what_leaves_a_site_and_how_often(dataset, tmp_path):
    made = federation(tmp_path / "run", dataset, ODD, rounds=2, **FEDERATED)
    state = made.run()
    steps = int(state["mixture.step"])
    assert 1 <= steps < MAX_STEPS
    total = 0
    for participant in ODD:
        lines = ledger(made, participant)
        total += sum(line["bytes"] for line in lines)
        assert [line["schema"] for line in lines] == [
            "feature_moments",
            "segment_count",
            "summary_moments",
            *["mixture_statistics"] * steps,
            "normal_moments",
            "segment_count",
            *["model_update"] * 2,
            "score_histogram",
        ]
        sizes = {line["schema"]: line["bytes"] for line in lines}
        assert (sizes["summary_moments"], sizes["mixture_statistics"]) == (64, STARTS * 15 * 8)
    assert total == int(state["bytes_up"])
    assert int(state["sequence"]) == steps + 8


@pytest.mark.parametrize("density", ["mixture", "pooled"])
def test_no_message_grows_with_videos_and_no_site_sends_its_gaussian(dataset, tmp_path, density):
    shapes = []
    for share in (3, 20):
        held = {"a": dataset.train_videos[: share // 2], "b": dataset.train_videos[share // 2 : share]}
        made = federation(tmp_path / str(share), dataset, held, density=density, rounds=1, **FEDERATED)
        made.run()
        lines = ledger(made, "a")
        shapes.append({line["schema"]: line["shapes"] for line in lines})
        assert {tuple(line["shapes"]) for line in lines if line["schema"] == "mixture_statistics"} == {
            ("likelihood", "outer", "responsibility", "sum")
        }
    assert shapes[0] == shapes[1]
    assert "normal_gaussian" not in shapes[0]
    assert shapes[0].keys() <= {declared.name for declared in schemas()}
    assert {declared.name: declared.summable for declared in schemas()}["mixture_statistics"]


def test_a_policy_names_both_messages_and_can_refuse_them(dataset, tmp_path):
    Policy().write(tmp_path / "policy.json")
    names = json.loads((tmp_path / "policy.json").read_text())["schemas"]
    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    for step, name in (("summarise", "summary_moments"), ("mixture", "mixture_statistics")):
        assert name in names
        policy = Policy(tuple(other for other in names if other != name))
        home = tmp_path / step
        site = Site("rest", made.program("rest"), SiteState(home / "state"), home, policy)
        with pytest.raises(RefusalError, match=f"schema '{name}' is outside this site's policy"):
            site.handle(Ask(step, name))
        assert not (home / "ledger.jsonl").exists()


def test_a_site_of_the_local_form_knows_no_such_step(dataset, tmp_path):
    (site, *_) = federation(tmp_path / "run", dataset, ODD).sites()
    for step, name in (("summarise", "summary_moments"), ("mixture", "mixture_statistics")):
        with pytest.raises(RefusalError, match=f"unknown step '{step}'"):
            site.handle(Ask(step, name))


@pytest.mark.parametrize("change", ["covariances", "means", "weights", "restarts"])
def test_a_mixture_that_is_none_is_not_answered(dataset, tmp_path, change):
    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    state = made.run()
    names = ("mean", "scale", "weights", "means", "covariances")
    question = {name: state[f"mixture.{name}"] for name in names}
    program, own = made.program("rest"), {}
    program.steps["normalise"][0]({name: state[f"normaliser.{name}"] for name in ("mean", "scale")}, own)
    program.steps["mixture"][0](question, own)
    if change == "restarts":
        question |= {name: question[name][:1] for name in ("weights", "means", "covariances")}
    else:
        question[change] = question[change] * (np.nan if change == "means" else -1)
    with pytest.raises(ClapError, match="refused the received mixture: invalid shapes or values"):
        program.steps["mixture"][0](question, own)


# Video labels.


def test_with_a_label_for_each_video_no_mixture_is_fitted(dataset, tmp_path):
    made = federation(tmp_path / "run", dataset, ODD, labelled=dataset.train_videos, **FEDERATED)
    state = made.run()
    assert int(state["mixture.step"]) == 0
    assert schemas_in_order(ledger(made, "rest"))[2:] == ["summary_moments", "normal_moments", "segment_count"]
    assert judged(made, state) == bursts(dataset.train_videos)


def test_known_labels_stand_and_their_videos_help_the_others(tmp_path):
    """A label that contradicts the mixture is believed; a single video without one is judged beside labelled ones."""
    path = make_dataset(tmp_path / "d", test=False)
    text = (path / "videos.csv").read_text()
    swapped = [line[:-1] + "1" if line.startswith("east-train-2,") else line for line in text.splitlines()]
    (path / "videos.csv").write_text("\n".join(swapped) + "\n")
    changed = Dataset(path)
    known = [video for video in changed.train_videos if video != "north-train-1"]
    made = federation(tmp_path / "run", changed, ODD, labelled=known, **FEDERATED)
    state = made.run()
    assert int(state["mixture.step"]) > 0
    assert judged(made, state) == bursts(changed.train_videos) | {"east-train-2"}


# Stops and absences.


def run_lossy(made: Federation, fates, quorum: int = 2) -> tuple[State, list[tuple[Moment, Ask]]]:
    checkpoint = Checkpoint(made.folder / "checkpoints")
    engine = LossyEngine(made.sites(), fates, checkpoint)
    plan = made.plan
    state = coordinate(
        lambda state: made.method.coordinate(plan, state, lambda record: None), engine, checkpoint, 16, Quorum(quorum)
    )
    return state, engine.asked


@pytest.mark.parametrize("replies", [7, 11])
def test_stopped_again_and_again_it_comes_to_the_same_bits(dataset, tmp_path, replies):
    expected = federation(tmp_path / "undisturbed", dataset, ODD, rounds=1, **FEDERATED).run()
    made = federation(tmp_path / "stopped", dataset, ODD, rounds=1, **FEDERATED)
    state, stops = run_with_stops(made, replies=replies)
    assert stops > 5
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(state[name], value, err_msg=name)


@pytest.mark.parametrize("missed", ["summarise", "mixture"])
def test_a_participant_that_misses_steps_uses_the_mixture_of_the_others(dataset, tmp_path, missed):
    """Its own videos are then in none of the sums, and it is not asked for them later."""

    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        gone = participant == "only-anomalous" and ask.step in ("summarise", missed)
        return Fate.IS_AWAY if gone else Fate.ANSWERS

    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    state, asked = run_lossy(made, fates)
    assert not any(ask.silent for _, ask in asked)
    assert int(state["mixture.count"]) == 17
    assert judged(made, state) == bursts(dataset.train_videos)


def test_who_misses_the_end_of_the_fit_catches_up_on_the_mixture(dataset, tmp_path):
    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        away = ask.step in ("summarise", "mixture", "segregate") and not ask.silent
        return Fate.IS_AWAY if participant == "only-anomalous" and away else Fate.ANSWERS

    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    state, asked = run_lossy(made, fates)
    assert [ask.step for _, ask in asked if ask.silent] == ["segregate"]
    assert judged(made, state) == bursts(dataset.train_videos)


def test_who_comes_and_goes_does_not_keep_the_fit_from_ending(dataset, tmp_path):
    def fates(moment: Moment, ask: Ask, participant: str) -> Fate:
        away = ask.step == "mixture" and (moment.question + len(participant)) % 3 == 0
        return Fate.IS_AWAY if away else Fate.ANSWERS

    made = federation(tmp_path / "run", dataset, ODD, **FEDERATED)
    state, _ = run_lossy(made, fates)
    assert int(state["mixture.step"]) <= MAX_STEPS
    assert np.isfinite(state["mixture.means"]).all()
    assert judged(made, state) == bursts(dataset.train_videos)


def test_where_all_videos_are_alike_none_is_anomalous(tmp_path):
    """Nothing to split: no step of EM, every video normal, as each site alone would say."""
    from clap_vad.datasets.dataset import VideoRecord, write_videos_csv
    from clap_vad.features.store.writer import StoreWriter

    x = np.abs(np.random.default_rng(0).normal(1, 0.1, (20, 2, 16))).astype(np.float32)
    records = []
    with StoreWriter(
        tmp_path / "d" / "store", extractor="synthetic", settings={}, crops=2, dim=16, normalise="none"
    ) as writer:
        for number in range(4):
            writer.append(f"v-{number}", [x], frames=320, fps=25.0)
            records.append(VideoRecord(f"v-{number}", "train", "a", "", 0))
        writer.finish()
    write_videos_csv(tmp_path / "d" / "videos.csv", records)
    same = Dataset(tmp_path / "d")
    made = federation(tmp_path / "run", same, {"a": ["v-0"], "b": ["v-1", "v-2", "v-3"]}, **FEDERATED)
    state = made.run()
    assert int(state["mixture.step"]) == 0
    assert judged(made, state) == set()
    assert not anomalous_videos(np.ones((4, 2))).any()
