"""The audit's attacks on kinds of messages: SCAFFOLD's, GCL's, and gradients with noise, made by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms.rounds import normaliser_of
from clap_vad.audit.attacks.membership import SIGNALS
from clap_vad.audit.isolation import isolation
from clap_vad.audit.membership import membership
from clap_vad.audit.recovery import recovery
from clap_vad.audit.replay import Observed, Seen, replay
from clap_vad.datasets.dataset import Dataset, VideoRecord, write_videos_csv
from clap_vad.features.store.writer import StoreWriter
from clap_vad.federation import messages
from clap_vad.federation.ask import Ask, Reply, SecureSum
from clap_vad.federation.messages import Message
from clap_vad.federation.secure import layout_of
from clap_vad.specification.reading import read_specification
from clap_vad.specification.run import RunOptions
from clap_vad.workflows.opening import Opened, open_run
from clap_vad.workflows.resolution import specify
from synthetic import make_dataset

FEW = {"momentum": 0.0, "local_epochs": 1, "epoch_share": 0.05, "rounds": 3, "normalise": "federated"}


def opened_run(quick_train, folder: Path, **changes) -> Opened:
    dataset = make_dataset(folder / "dataset", videos=4)
    quick_train(dataset, folder / "run", **{**FEW, **changes})
    return open_run(read_specification(folder / "run"))


def with_messages(observed: Observed, change) -> Observed:
    """The same questions, every reply's message changed."""
    read = [
        Seen(seen.ask, [Reply(r.participant, change(seen.ask, r.participant, r.message)) for r in seen.replies])
        for seen in observed.read
    ]
    return replace(observed, read=read)


def without(observed: Observed, prefix: str) -> Observed:
    return with_messages(
        observed, lambda ask, who, message: {k: v for k, v in message.items() if not k.startswith(prefix)}
    )


def close(opened: Opened, observed: Observed) -> int:
    """Segments within 5 %, where chance finds none."""
    total = recovery(opened, observed)["total"]
    assert total["chance_gaussian"]["within_5"] == total["chance_other_participants"]["within_5"] == 0
    return total["attacked"]["within_5"]


def test_the_control_variate_alone_gives_segments_away(tmp_path, quick_train):
    opened = opened_run(quick_train, tmp_path, method="c2fpl", nesterov="off", strategy="scaffold", weight_decay=0.1)
    observed = replay(opened, tmp_path / "again", rounds=3)
    alone = without(observed, "update.")
    assert close(opened, alone) > 10
    first = replace(alone, read=[seen for seen in alone.read if seen.ask.payload.get("round", 1) == 1])
    assert close(opened, alone) > close(opened, first) > 0  # later rounds tell more, through sums of the changes
    assert close(opened, observed) >= close(opened, alone)


def test_the_generators_first_layer_gives_segments_away(tmp_path, quick_train, small_generator):
    # At the default 2e-5 float32 keeps too little of gradients as large as those of such narrow features.
    one_step = {"lr": 0.03, "min_steps": 0, "pretrain_rounds": 1, "negative_from": 1, "weight_decay": 0.01}
    opened = opened_run(quick_train, tmp_path, method="gcl", **one_step)
    observed = replay(opened, tmp_path / "again", rounds=3)
    steps = {seen.ask.step for seen in observed.read if "update.generator.layer1.weight" in seen.replies[0].message}
    assert steps == {"pretrain", "train"}
    generator_alone = without(observed, "update.layer1")
    assert close(opened, generator_alone) > 0
    assert close(opened, observed) > close(opened, generator_alone)


def noised(observed: Observed, planted: dict[str, np.ndarray], noise: float) -> Observed:
    """The same run as if it were differentially private: noisy sums of gradients, no moments, no counts.

    Every second unit of a participant's first layer has seen one of its planted segments, (n, D).
    """
    rng = np.random.default_rng(0)

    def change(ask: Ask, who: str, message: Message) -> Message:
        shapes = {name: np.shape(v) for name, v in message.items() if name.startswith("update.")}
        sent = {f"gradient.{name.removeprefix('update.')}": np.zeros(shape) for name, shape in shapes.items()}
        for unit, x in enumerate(planted[who]):
            sent["gradient.layer1.weight"][2 * unit], sent["gradient.layer1.bias"][2 * unit] = -0.3 * x, -0.3
        return {name: (value + noise * rng.normal(size=value.shape)).astype(np.float32) for name, value in sent.items()}

    kept = [seen for seen in observed.read if seen.ask.step == "train"]
    private = with_messages(replace(observed, read=kept), change)
    asked = [Seen(replace(seen.ask, reply="private_gradient"), seen.replies) for seen in private.read]
    moments = {"count": 40.0, "sum": np.zeros(16), "sumsq": np.ones(16)}
    names = list(planted)
    steps = [
        Seen(Ask(step, "private_moments"), [Reply(who, moments) for who in names])
        for step in ("scales", "private_moments")
    ]
    return replace(private, read=[*steps, *asked])


def planted_in(opened: Opened, observed: Observed) -> dict[str, np.ndarray]:
    """The first three segments of each participant, one crop of each, (3, D)."""
    store, normaliser = opened.dataset.stores[0], normaliser_of(observed.state)
    return {
        who: normaliser.apply(np.array(store.features[store.video(videos[0]).start :][:3, 0], np.float32))
        for who, videos in opened.participants.items()
    }


@pytest.mark.parametrize(("noise", "least"), [(0.0, 12), (1e-4, 12), (1.0, 0)])
def test_gradients_with_noise_of_their_own_are_attacked(tmp_path, quick_train, noise, least):
    opened = opened_run(quick_train, tmp_path, method="c2fpl", nesterov="off", rounds=1, weight_decay=0.1)
    observed = replay(opened, tmp_path / "again", rounds=1)
    private = noised(observed, planted_in(opened, observed), noise)
    total = recovery(opened, private)["total"]["attacked"]
    assert total["within_5"] == least
    found = isolation(opened, private, tmp_path / "scratch")
    assert found["update_error"] is found["feature_moments_error"] is found["feature_mean_error"] is None
    assert "contain noise: nothing exact can be isolated" in found["meaning"]
    assert not (tmp_path / "scratch").exists()


def test_vectors_of_noised_gradients_are_read_as_if_they_bore_no_masks(tmp_path, quick_train, monkeypatch):
    opened = opened_run(quick_train, tmp_path, method="c2fpl", nesterov="off", rounds=1)
    observed = replay(opened, tmp_path / "again", rounds=1)
    planted = planted_in(opened, observed)
    private = noised(observed, planted, 0.0)
    (trained,) = [seen for seen in private.read if seen.ask.step == "train"]
    sent = trained.replies[0].message
    fields = {name: messages.Field(np.shape(value), "float32", bound=8.0) for name, value in sent.items()}
    declared = messages.Schema("private_gradient", fields, True, "test")
    monkeypatch.setitem(messages._SCHEMAS, "private_gradient", declared)
    names = tuple(planted)
    layout = layout_of("private_gradient", 16, len(names))
    encoded = {r.participant: layout.encode({**r.message, "clipped": 0}, "here") for r in trained.replies}
    replies = [Reply(who, {"narrow": each.narrow, "wide": each.wide}) for who, each in encoded.items()]
    ask = replace(trained.ask, reply="masked", secure=SecureSum("sum", "mask", "private_gradient", names))
    bare = replace(private, read=[], wire=[Seen(ask, replies)])
    assert recovery(opened, bare)["total"]["attacked"]["within_5"] == 12


def noise(folder: Path) -> Dataset:
    """Three sites with eight videos of eight segments that have nothing in common: only learning by heart helps."""
    rng, records = np.random.default_rng(0), []
    with StoreWriter(folder / "store", extractor="noise", settings={}, crops=1, dim=256) as writer:
        for name in (f"{scene}-{number}" for scene in ("north", "south", "east") for number in range(8)):
            writer.append(name, [rng.normal(size=(8, 1, 256)).astype(np.float32)], frames=128, fps=25.0)
            records.append(VideoRecord(name, "train", name.split("-")[0], "", None))
        writer.finish()
    write_videos_csv(folder / "videos.csv", records)
    return Dataset(folder)


def inferred(dataset: Dataset, scratch: Path, **changes) -> dict:
    """Membership in a run of c2fpl that need not have been done."""
    choices = {"setting": "collaborative", "supervision": "us", "strategy": "fedavg", "protocol": "scene", "seed": 0}
    options = {"lr_milestones": "", **changes}
    rounds = options.pop("rounds")
    config = specify(
        dataset, RunOptions(method="c2fpl", **choices, rounds=rounds, threads=1, normalise="none", options=options)
    )
    return membership(open_run(config), 4, False, scratch)


def test_an_overfitted_model_reveals_its_training_videos_and_an_untrained_one_none(tmp_path):
    dataset = noise(tmp_path / "dataset")
    found = inferred(dataset, tmp_path / "over", rounds=3, local_epochs=40, min_steps=0, lr=0.03)
    assert found["likelihood_ratio"]["low"] > 0.8
    assert "by likelihood ratio" in found["meaning"]
    untrained = inferred(dataset, tmp_path / "un", rounds=1, lr=1e-12, weight_decay=0.0)
    for signal in SIGNALS:
        assert untrained[signal]["low"] <= 0.5 <= untrained[signal]["high"], signal
    assert "No signal" in untrained["meaning"]


def test_where_every_site_has_one_video_membership_is_not_inferred(tmp_path):
    dataset = noise(tmp_path / "dataset")
    records = [dataset.videos[f"{scene}-0"] for scene in ("north", "south", "east")]
    write_videos_csv(tmp_path / "dataset" / "videos.csv", records)
    found = inferred(Dataset(tmp_path / "dataset"), tmp_path / "none", rounds=1)
    assert found["likelihood_ratio"] is None
    assert "single video" in found["meaning"]
