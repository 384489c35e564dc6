"""One video moves nothing that is noised by more than 1, whatever it holds and whatever the coordinator asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import binomtest

from clap_vad.algorithms.clap import ClapSite
from clap_vad.algorithms.method import make_method
from clap_vad.algorithms.plan import SiteData
from clap_vad.core.pseudo_labels.federated_mixture import Mixtures
from clap_vad.core.pseudo_labels.private_statistics import first_mixture
from clap_vad.core.statistics.accounting import Terms
from clap_vad.detector.dropout import Dropout
from clap_vad.detector.network import LAYERS, initial_weights, last_layers, weight_shapes
from clap_vad.detector.private_gradient import clipped_gradients
from clap_vad.detector.source import SegmentSource, video_slices
from clap_vad.features.store.reader import FeatureStore
from clap_vad.features.store.writer import StoreWriter
from clap_vad.federation.ask import State
from clap_vad.federation.messages import Message, schema
from clap_vad.federation.policy import RefusalError
from clap_vad.federation.privacy import KEY
from clap_vad.protection.noise import secret_generator
from synthetic import make_plan

DIM, CROPS = 4, 2
TERMS = Terms(8.0, 1e-5, 0.5, 0.7, 0.1, 9, 5, 0, 1.0, 1.0)
MOST = 1 + 1e-6
ODD = ("burst", "far", "short", "zero", "calm", "flat")
VIDEOS = ("calm-0", *ODD, "calm-1", "burst-1", "calm-2")


def segments(name: str, rng: np.random.Generator) -> np.ndarray:
    length = 1 if name == "short" else int(rng.integers(11, 24))
    x = np.abs(rng.normal(1, 0.1, (length, CROPS, DIM)))
    if name.startswith("burst"):
        x[5:9] *= rng.uniform(2, 4, (4, CROPS, DIM))
    if name == "far":
        x = 1e6 * rng.normal(size=x.shape)
    if name == "flat":
        x[:] = x[0]
    return np.zeros_like(x) if name == "zero" else x


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> dict[str, FeatureStore]:
    """One in which every crop is there, and one in which some are not."""
    made = {}
    for kind in ("whole", "with gaps"):
        rng, gaps = np.random.default_rng(4), kind == "with gaps"
        path = tmp_path_factory.mktemp("data") / "store"
        with StoreWriter(path, extractor="synthetic", settings={}, crops=CROPS, dim=DIM, with_valid=gaps) as writer:
            for name in VIDEOS:
                x = segments(name, rng).astype(np.float32)
                valid = rng.random(x.shape[:2]) < 0.8
                valid[0] = True
                valid[2:3] = False
                writer.append(name, [(x, valid) if gaps else x], frames=16 * len(x), fps=25.0)
            made[kind] = writer.finish()
    return made


def site(store: FeatureStore, without: str = "", terms: Terms = TERMS, labels: Any = None, **options: Any) -> ClapSite:
    """The site that holds all videos of the store but one."""
    entries = [entry for entry in store.index if entry.video != without]
    data = SiteData("here", store, entries, [(labels or {}).get(e.video) for e in entries], [""] * len(entries))
    plan = make_plan(normalise="federated", dim=DIM, privacy=terms)
    return make_method("clap", {"segregation": "federated", "refine_from": 1, **options}).site(plan, data)


def key(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, 32, dtype=np.uint8)


def mixture_payload(centre: tuple[float, float] = (0.2, -0.3), mixture: Mixtures | None = None) -> Message:
    mixture = mixture or first_mixture()
    arrays = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
    return {"centre": np.array(centre), **arrays, KEY: key(0)}


def weights_payload(seed: int, scale: float = 1.0) -> Message:
    return {f"weights.{name}": np.float32(scale) * value for name, value in initial_weights(DIM, seed).items()}


def answers(program, questions: list[tuple[str, Message]]) -> list[tuple[str, np.ndarray]]:
    """The noised replies to these questions, before their noise, in the order of the schema's entries."""
    state: State = {}
    found = []
    for step, payload in questions:
        handler, name = program.steps[step]
        message = handler({KEY: key(0), **payload}, state)
        if schema(name).noised:
            parts = [np.ravel(np.asarray(message[field], np.float64)) for field in schema(name).fields]
            found.append((step, np.concatenate(parts)))
    return found


def usual(rounds: int = 3, scale: float = 1.0) -> list[tuple[str, Message]]:
    """A run's questions, with numbers as a coordinator would have them."""
    questions: list[tuple[str, Message]] = [
        ("scales", {}),
        ("moments", {"scales": np.array([1.0, 0.8, 1.2, 1.0])}),
        ("normalise", {"mean": np.full(DIM, 1.0, np.float32), "scale": np.full(DIM, 4.0, np.float32)}),
        ("summarise", {}),
        *[("mixture", mixture_payload((0.2, 0.1 * step))) for step in range(2)],
        ("segregate", {**mixture_payload(), "normal": 0}),
        ("label", {"gaussians": np.array([[30.0, 4.0, 4.0]])}),
    ]
    for number in range(1, rounds + 1):
        step = f"train_{1 + number % LAYERS}"
        questions.append((step, {"round": number, KEY: key(number), **weights_payload(number, scale)}))
    return [*questions, ("calibrate", weights_payload(9, scale))]


NOISED = {"scales", "moments", "summarise", "mixture", "segregate", "train_1", "train_2", "train_3", "calibrate"}


def assert_neighbours_differ_by_one(store: FeatureStore, questions, *without: str, **how: Any) -> np.ndarray:
    """How far each answer is without one video from that with all, (videos taken away, answers)."""
    whole, norms = answers(site(store, **how), questions), []
    for name in without:
        for (step, one), (_, other) in zip(whole, answers(site(store, name, **how), questions), strict=True):
            assert np.isfinite(one).all(), step
            norms.append(float(np.linalg.norm(one - other)))
            assert norms[-1] <= MOST, f"{step} without {name}"
    return np.reshape(norms, (len(without), len(whole)))


@pytest.mark.parametrize("kind", ["whole", "with gaps"])
def test_one_video_moves_no_answer_by_more_than_1(stores, kind):
    norms = assert_neighbours_differ_by_one(stores[kind], usual(), *ODD)
    assert {step for step, _ in answers(site(stores[kind]), usual())} == NOISED
    assert (np.sum(norms > 0.01, axis=1) >= 5).all()  # each is in most of them


@pytest.mark.parametrize(
    "options",
    [
        {"refine_labels": "original"},
        {"normal_cluster": "calm", "short_videos": "release"},
        {"entropy": "von-neumann"},
        {"batch_size": 3},
        {"refine": "off", "crops": 1},
    ],
    ids=lambda options: ",".join(f"{k}={v}" for k, v in options.items()),
)
def test_with_no_settings_does_one_video_move_more(stores, options):
    """Settings are the coordinator's to choose; labels of others must not change with one video under any of them."""
    assert_neighbours_differ_by_one(stores["whole"], usual(rounds=3, scale=3.0)[2:], "burst", "far", **options)


@pytest.mark.parametrize("options", [{}, {"crops": 1}], ids=str)
def test_refinement_changes_a_videos_labels_by_that_video_alone(stores, options):
    """What a site draws for it must not depend on who else is there either."""
    labels: dict[str, dict[str, np.ndarray]] = {}
    for without in ("", "calm-0", "burst"):
        program, state = site(stores["whole"], without, **options), {}
        for step, payload in usual(rounds=15, scale=3.0)[2:-1]:
            program.steps[step][0]({KEY: key(0), **payload}, state)
        labels[without] = {
            entry.video: state["labels"][part] for entry, part in zip(program.data.entries, program.slices, strict=True)
        }
    assert any(np.unique(values).size > 2 for values in labels[""].values())  # some have been refined
    for without in ("calm-0", "burst"):
        moved = [v for v, values in labels[without].items() if not np.array_equal(values, labels[""][v])]
        assert moved == [], f"labels of these videos depend on {without}"


@pytest.mark.parametrize(
    "options", [{"segregation": "local"}, {"refine_model": "local"}, {"refine_mode": "training"}], ids=str
)
def test_a_site_refuses_settings_under_which_videos_depend_on_each_other(stores, options):
    with pytest.raises(
        RefusalError, match="refused a private run: with its settings one video's labels depend on other videos"
    ):
        site(stores["whole"], **options)


def test_known_labels_move_no_more(stores):
    labels = {"burst": 0, "calm-1": 1, "far": 1, "calm-0": 1}
    assert_neighbours_differ_by_one(stores["whole"], usual(), "calm-0", "far", labels=labels)


TRICKS: dict[str, list[tuple[str, Message]]] = {
    "tiny units": [("moments", {"scales": np.full(DIM, 1e-9)})],
    "large units": [("moments", {"scales": np.full(DIM, 1e3)})],
    "a normaliser that blows one dimension up": [
        ("normalise", {"mean": np.zeros(DIM, np.float32), "scale": np.array([1e4, 1, 1, 1], np.float32)}),
        ("summarise", {}),
        ("mixture", mixture_payload()),
    ],
    "a narrow mixture": [
        ("normalise", {"mean": np.ones(DIM, np.float32), "scale": np.ones(DIM, np.float32)}),
        ("mixture", mixture_payload(mixture=replace(first_mixture(), covariances=1e-4 * first_mixture().covariances))),
        ("segregate", {**mixture_payload(), "normal": 1}),
    ],
    "a far centre": [
        ("normalise", {"mean": np.ones(DIM, np.float32), "scale": np.ones(DIM, np.float32)}),
        ("mixture", mixture_payload((1e3, -1e3))),
    ],
    "a mixture that outweighs": [
        ("normalise", {"mean": np.ones(DIM, np.float32), "scale": np.ones(DIM, np.float32)}),
        ("mixture", mixture_payload(mixture=replace(first_mixture(), weights=np.array([[1e9, 1e-9]])))),
    ],
    "large weights": usual(rounds=2, scale=1e3),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_no_question_of_a_lying_coordinator_moves_an_answer_further(stores, trick):
    assert_neighbours_differ_by_one(stores["whole"], TRICKS[trick], "far", "short")


def threatening(scale: float) -> list[tuple[str, Message]]:
    """Numbers that overflow float32 for a video of large features, and for no other."""
    mean, standard = np.ones(DIM, np.float32), np.ones(DIM, np.float32)
    blown = dict(weights_payload(1))
    blown["weights.layer1.weight"] = blown["weights.layer1.weight"] * np.float32(scale)
    return [
        *usual(rounds=0)[2:-1],
        ("normalise", {"mean": mean, "scale": standard}),
        *[("train_3", {"round": 1, KEY: key(number), **blown}) for number in range(4)],
        ("calibrate", blown),
    ]


ABSURD: dict[str, list[tuple[str, Message]]] = {
    "units": [("moments", {"scales": np.full(DIM, 1e9)})],
    "no units": [("moments", {"scales": np.full(DIM, np.nan)})],
    "a normaliser": [("normalise", {"mean": np.zeros(DIM, np.float32), "scale": np.full(DIM, 1e16, np.float32)})],
    "a mean": [("normalise", {"mean": np.full(DIM, np.inf, np.float32), "scale": np.ones(DIM, np.float32)})],
    "a centre": [*usual()[2:4], ("mixture", mixture_payload((1e6, -1e6)))],
    "weights": threatening(1e33),
}


@pytest.mark.parametrize("trick", ABSURD)
@pytest.mark.parametrize("without", ["", "far", "burst"])
def test_numbers_that_no_honest_coordinator_sends_are_refused_whatever_the_site_holds(stores, trick, without):
    with pytest.raises(RefusalError, match="not finite, or above"):
        answers(site(stores["whole"], without), ABSURD[trick])


HIDDEN_REFUSALS = {
    "the largest normaliser": [
        ("normalise", {"mean": np.zeros(DIM, np.float32), "scale": np.full(DIM, 2e4, np.float32)}),
        ("summarise", {}),
    ],
    "the largest weights": threatening(1e6),
    "units that overflow": [("moments", {"scales": np.full(DIM, 1e-149)})],
}


@pytest.mark.parametrize("trick", HIDDEN_REFUSALS)
def test_the_existence_of_an_answer_reveals_nothing_about_a_video(stores, trick):
    """A refusal, or numbers that the exit refuses, are an answer without noise."""

    def answered(without: str) -> bool:
        try:
            found = answers(site(stores["whole"], without), HIDDEN_REFUSALS[trick])
        except Exception:
            return False
        return all(np.isfinite(values).all() for _, values in found)

    with np.errstate(all="ignore"):
        assert answered("far")
        assert answered("")


# Knife-edges.


def cancelling(seed: int) -> Message:
    """Weights under which the logit of anything is 0 but for rounding: each hidden sum twice, in another order."""
    rng = np.random.default_rng(seed)
    weights = {name: np.zeros(shape, np.float32) for name, shape in weight_shapes(DIM).items()}
    weights["layer1.weight"][:] = np.tile(rng.normal(0, 1, (256, DIM)), (2, 1))
    for unit in range(0, 32, 2):
        u, first = np.tile(rng.normal(0, 1, 256), 2), np.tile(rng.random(256) < 0.5, 2)
        first[256:] ^= True
        weights["layer2.weight"][unit] = np.where(first, u, 0)
        weights["layer2.weight"][unit + 1] = np.where(first, 0, u)
    weights["layer3.weight"][0, ::2], weights["layer3.weight"][0, 1::2] = 1, -1
    return {f"weights.{name}": value for name, value in weights.items()}


def test_rounding_does_not_couple_a_videos_score_to_who_else_is_there(tmp_path):
    """A matrix product rounds a row by its place among the others, and the edge of a bin is where rounding decides."""
    rng = np.random.default_rng(0)
    with StoreWriter(tmp_path / "store", extractor="synthetic", settings={}, crops=1, dim=DIM) as writer:
        for number in range(300):
            writer.append(f"v-{number}", [rng.normal(0, 1, (1, 1, DIM)).astype(np.float32)], frames=16, fps=25.0)
        store = writer.finish()
    standard: Message = {"mean": np.zeros(DIM, np.float32), "scale": np.ones(DIM, np.float32)}
    for seed in range(5):
        questions = [("normalise", standard), ("calibrate", cancelling(seed))]
        assert_neighbours_differ_by_one(store, questions, "v-0", "v-150")


# What the paper's form would do.


def test_split_by_a_mixture_of_its_own_one_video_moves_the_labels_of_others(stores):
    """The counter-example: why ``--segregation local`` has no private form."""
    labels = {}
    for without in ("", "far"):
        entries = [entry for entry in stores["whole"].index if entry.video != without]
        data = SiteData("here", stores["whole"], entries, [None] * len(entries), [""] * len(entries))
        program, state = make_method("clap", {}).site(make_plan(dim=DIM), data), {}
        reply = program.steps["segregate"][0]({}, state)
        rows = np.array([[reply["count"], reply["mean"], reply["variance"]]])
        program.steps["label"][0]({"gaussians": rows}, state)
        labels[without] = {e.video: state["labels"][p] for e, p in zip(entries, program.slices, strict=True)}
    others = [video for video in VIDEOS if video != "far"]
    moved = [video for video in others if not np.array_equal(labels[""][video], labels["far"][video])]
    assert len(moved) >= 2
    # And a run under differential privacy labels each by itself.
    private = {}
    for without in ("", "far"):
        program, state = site(stores["whole"], without), {}
        for step, payload in usual(rounds=0)[2:-1]:
            program.steps[step][0](payload, state)
        entries = program.data.entries
        private[without] = {e.video: state["labels"][p] for e, p in zip(entries, program.slices, strict=True)}
    assert all(np.array_equal(private[""][video], private["far"][video]) for video in others)
    assert any(private[""][video].any() for video in others)


# Gradients.


def slow_gradient(
    weights: Mapping[str, np.ndarray], x: np.ndarray, share: np.ndarray, labels: np.ndarray, drop: Dropout
) -> dict[str, np.ndarray]:
    """By torch's own modules in double precision, one crop after the other."""
    layers = [torch.nn.Linear(*weights[f"layer{n}.weight"].shape[::-1]).double() for n in (1, 2, 3)]
    for number, layer in enumerate(layers, start=1):
        layer.weight.data = torch.tensor(weights[f"layer{number}.weight"], dtype=torch.float64)
        layer.bias.data = torch.tensor(weights[f"layer{number}.bias"], dtype=torch.float64)
    kept = [drop.keep(torch.empty(share.size, n)).double().view(*share.shape, n) * drop.scale for n in (512, 32)]
    loss = torch.zeros((), dtype=torch.float64)
    for t, label in enumerate(labels.astype(float)):
        score = torch.zeros((), dtype=torch.float64)
        for c in range(share.shape[1]):
            h = torch.tensor(x[t, c], dtype=torch.float64)
            for layer, keep in zip(layers, kept, strict=False):
                h = layer(h).relu() * keep[t, c]
            score = score + float(share[t, c]) * layers[2](h)[0].sigmoid()
        loss = loss - (label * score.log() + (1 - label) * (1 - score).log()) / len(x)
    loss.backward()
    named = {
        f"layer{n}.{kind}": getattr(layer, kind) for n, layer in enumerate(layers, 1) for kind in ("weight", "bias")
    }
    return {name: parameter.grad.numpy() for name, parameter in named.items()}


class AllKept:
    """Dropout of probability 0."""

    scale = 1.0

    def keep(self, h: torch.Tensor) -> torch.Tensor:
        return torch.ones_like(h)


@pytest.mark.parametrize(
    ("kind", "clip", "layers", "dropout"),
    [("whole", 0.05, 3, 0.6), ("with gaps", 0.5, 3, 0.6), ("whole", 100.0, 2, 0.3), ("with gaps", 0.5, 1, 0.0)],
)
def test_clipped_gradients_are_those_of_a_slow_loop(stores, kind, clip, layers, dropout):
    store = stores[kind]
    names = ["calm-0", "burst", "short", "zero", "calm-1"]
    entries = [store.video(name) for name in names]
    source, slices, weights = SegmentSource(store, entries, None), video_slices(entries), initial_weights(DIM, 3)
    labels = np.random.default_rng(0).random(len(source)).astype(np.float32)
    present = np.zeros(len(source), bool)
    present[source.present()] = True
    videos = [part.start + np.flatnonzero(present[part]) for part in slices]
    drawn = [(video, np.random.default_rng(0)) for video in videos]
    settings = {"segments": 1000, "crops": 0, "threads": 1, "dropout": dropout}
    found = clipped_gradients(weights, source, labels, drawn, clip, layers=layers, **settings)
    expected = {name: np.zeros(weights[name].shape) for name in last_layers(weights, layers)}
    shortened = 0
    for video in videos:
        if not len(video):
            continue
        rows = source.rows(video)
        x = np.asarray(store.features[rows])
        valid = np.ones(x.shape[:2]) if store.valid is None else np.asarray(store.valid[rows], float)
        drop = Dropout(dropout, np.random.default_rng(0)) if dropout else AllKept()
        gradient = slow_gradient(weights, x, valid / valid.sum(axis=1, keepdims=True), labels[video], drop)
        gradient = {name: gradient[name] for name in last_layers(gradient, layers)}
        norm = np.sqrt(sum(np.sum(g**2) for g in gradient.values()))
        shortened += norm > clip
        for name, value in gradient.items():
            expected[name] += value / clip * min(1.0, clip / norm)
    assert {0.05: shortened == len(videos), 100.0: shortened == 0}.get(clip, True)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("dropout", [0.3, 0.6])
def test_no_gradient_is_longer_than_1(stores, name, dropout):
    entries = [stores["whole"].video(name)]
    source, lengths = SegmentSource(stores["whole"], entries, None), []
    for clip in (1e-4, 1.0, 1e4):
        settings = {"layers": 3, "segments": 5, "crops": 1, "threads": 1, "dropout": dropout}
        video = [(np.arange(len(source)), np.random.default_rng(1))]
        labels = np.ones(len(source), np.float32)
        found = clipped_gradients(initial_weights(DIM, 0), source, labels, video, clip, **settings)
        lengths.append(np.sqrt(sum(np.sum(np.square(value)) for value in found.values())))
    assert max(lengths) <= MOST
    if name != "far":  # whose scores are exactly 1, and its gradient 0
        assert lengths[0] == pytest.approx(1, rel=1e-5)  # so short a radius shortens every one
        assert 0 < lengths[2] < 0.01


def test_a_long_video_is_looked_at_through_a_few_of_its_segments(stores):
    """The gradient's mean over draws is that of all segments."""
    entries, weights = [stores["whole"].video("calm-0")], initial_weights(DIM, 3)
    source = SegmentSource(stores["whole"], entries, None)
    labels = (np.arange(len(source)) % 2).astype(np.float32)

    def gradient(segments: int, seed: int) -> np.ndarray:
        video = [(np.arange(len(source)), np.random.default_rng(seed))]
        return clipped_gradients(
            weights, source, labels, video, 100.0, layers=1, segments=segments, crops=0, threads=1, dropout=2.0**-16
        )["layer3.weight"][0]

    whole = gradient(len(source), 0)
    draws = [gradient(4, seed) for seed in range(200)]
    assert len({tuple(draw) for draw in draws}) > 150
    np.testing.assert_allclose(np.mean(draws, axis=0), whole, atol=6 * np.std(draws, axis=0).max() / np.sqrt(200))


# Who is drawn.


def drawn(program, monkeypatch, number: int, payload: Message, state: State) -> dict[str, np.ndarray]:
    """Videos that a round looks at, and what their generators say next."""
    from clap_vad.algorithms import private_site

    seen: dict[str, np.ndarray] = {}

    def instead(weights, source, labels, videos, clip, **settings):
        for segments, rng in videos:
            (place,) = [i for i, part in enumerate(program.slices) if part.start <= segments[0] < part.stop]
            seen[program.data.entries[place].video] = rng.random(4)
        return {name: np.zeros(value.shape) for name, value in weights.items()}

    with monkeypatch.context() as patch:
        patch.setattr(private_site, "clipped_gradients", instead)
        program.steps["train_3"][0]({**payload, "round": 1, KEY: key(number)}, state)
    return seen


def test_videos_are_drawn_one_by_one_as_often_as_agreed(stores, monkeypatch):
    program, less = (site(stores["whole"], name, refine="off") for name in ("", "calm-0"))
    payload, rounds = weights_payload(0), 300
    states = [{"labels": np.zeros(p.slices[-1].stop, np.float32)} for p in (program, less)]
    times = dict.fromkeys(VIDEOS, 0)
    together = 0
    for number in range(rounds):
        one, other = (drawn(p, monkeypatch, number, payload, s) for p, s in zip((program, less), states, strict=True))
        for video in one:
            times[video] += 1
        together += {"burst", "calm-1"} <= one.keys()
        one.pop("calm-0", None)
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[video], other[video]) for video in one)
        assert len({tuple(value) for value in one.values()}) == len(one)
    assert binomtest(sum(times.values()), rounds * len(VIDEOS), TERMS.sampling).pvalue > 1e-3
    assert all(binomtest(count, rounds, TERMS.sampling).pvalue > 1e-4 for count in times.values())
    assert binomtest(together, rounds, TERMS.sampling**2).pvalue > 1e-3


def test_with_sampling_1_every_video_takes_part(stores, monkeypatch):
    program = site(stores["whole"], terms=replace(TERMS, sampling=1.0), refine="off")
    state = {"labels": np.zeros(program.slices[-1].stop, np.float32)}
    assert set(drawn(program, monkeypatch, 0, weights_payload(0), state)) == set(VIDEOS)


def test_the_draw_is_by_the_key_of_the_question_alone():
    """Which only the site can compute; see ``test_privacy.py``."""
    first, again, other = (secret_generator(key(n).tobytes(), "calm-0").random() for n in (1, 1, 2))
    assert first == again != other


def test_a_video_without_a_segment_to_look_at_adds_nothing(tmp_path: Path):
    with StoreWriter(
        tmp_path / "store", extractor="synthetic", settings={}, crops=1, dim=DIM, with_valid=True
    ) as writer:
        for name in ("empty", "full"):
            x = np.ones((5, 1, DIM), np.float32)
            writer.append(name, [(x, np.full((5, 1), name == "full"))], frames=80, fps=25.0)
        store = writer.finish()
    norms = assert_neighbours_differ_by_one(store, usual(), "empty")
    assert not norms[0, -4:-1].any()  # rounds
