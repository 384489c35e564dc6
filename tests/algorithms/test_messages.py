"""What leaves a site under each method: declared schemas, in their order, of a size that its data does not change."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from clap_vad.algorithms.method import make_method
from clap_vad.core.statistics.histogram import BINS
from clap_vad.datasets.dataset import Dataset
from clap_vad.federation.messages import schemas
from clap_vad.workflows.federate import Federation
from synthetic import comet_terms, make_dataset, make_plan

DIM = 16
BEGIN = [("moments", "feature_moments"), ("normalise", "segment_count")]
LABEL, END = ("label", "segment_count"), ("calibrate", "score_histogram")
QUICK = {"min_steps": 0, "local_epochs": 1, "pretrain_rounds": 1}
CASES = {
    "c2fpl": ("c2fpl", {}, "fedavg", [*BEGIN, LABEL, *[("train", "model_update")] * 2, END]),
    "gcl": (
        "gcl",
        QUICK,
        "fedavg",
        [*BEGIN, LABEL, ("pretrain", "generator_update"), *[("train", "cooperative_update")] * 2, END],
    ),
    "clap-scaffold": (
        "clap",
        {"refine_from": 1},
        "scaffold",
        [*BEGIN, ("segregate", "normal_gaussian"), LABEL, *[("train", "scaffold_update")] * 2, END],
    ),
    "c2fpl-scaffold": ("c2fpl", {}, "scaffold", [*BEGIN, LABEL, *[("train", "scaffold_update")] * 2, END]),
    "c2fpl-int8": (
        "c2fpl",
        {},
        "fedavg",
        [*BEGIN, LABEL, ("train", "model_update"), ("train", "model_update_int8"), END],
    ),
    "c2fpl-scaffold-int8": (
        "c2fpl",
        {},
        "scaffold",
        [*BEGIN, LABEL, ("train", "scaffold_update"), ("train", "scaffold_update_int8"), END],
    ),
    "comet": (
        "comet",
        {},
        "fedavg",
        [
            ("sizes", "row_sizes"),
            ("moments", "row_moments"),
            ("normalise", "acknowledgement"),
            *[("expect", "row_density")] * 3,
            ("settle", "row_scales"),
            ("calibrate", "segment_peaks"),
        ],
    ),
    "gcl-int8": (
        "gcl",
        {**QUICK, "pretrain_rounds": 2},
        "fedavg",
        [
            *BEGIN,
            LABEL,
            ("pretrain", "generator_update"),
            ("pretrain", "generator_update_int8"),
            ("train", "cooperative_update"),
            ("train", "cooperative_update_int8"),
            END,
        ],
    ),
}


def layers(*sizes: int) -> int:
    """Weights and biases of fully connected layers."""
    return sum(a * b + b for a, b in itertools.pairwise(sizes))


DETECTOR, GENERATOR = layers(DIM, 512, 32, 1), layers(DIM, 1024, 512, 256, 512, 1024, DIM)
BYTES = {
    "feature_moments": 8 + 2 * 8 * DIM,
    "segment_count": 8,
    "normal_gaussian": 24,
    "model_update": 4 * DETECTOR + 16,
    "scaffold_update": 2 * 4 * DETECTOR + 16,
    "generator_update": 4 * GENERATOR + 16,
    "cooperative_update": 4 * (DETECTOR + GENERATOR) + 16,
    "acknowledgement": 0,
    "row_sizes": 8 * 40 * DIM,
    "row_moments": 8 * (1 + 2 * DIM),
    "row_density": 8 * 64 * (1 + DIM + DIM * (DIM + 1) // 2),
    "row_scales": 8 * 2 * 112,
    "segment_peaks": 8 * 64,
    "score_histogram": 8 * BINS,
    "model_update_int8": DETECTOR + 16,
    "scaffold_update_int8": 2 * DETECTOR + 16,
    "generator_update_int8": GENERATOR + 16,
    "cooperative_update_int8": DETECTOR + GENERATOR + 16,
}


def ledger(folder: Path, site: str) -> list[dict]:
    return [json.loads(line) for line in (folder / "sites" / site / "ledger.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(("method", "options", "strategy", "sent"), CASES.values(), ids=CASES.keys())
def test_messages_are_those_declared_and_no_longer_for_more_videos(tmp_path, method, options, strategy, sent):
    dataset = Dataset(make_dataset(tmp_path / "data", test=False))
    eight_bits = any(schema.endswith("_int8") for _, schema in sent)
    privacy = comet_terms(epsilon=8.0) if method == "comet" else None
    encoding = "int8" if eight_bits else "float32"
    plan = make_plan(strategy, normalise="federated", update_encoding=encoding, privacy=privacy)
    shapes = []
    for share in (2, 20):
        held = {"a": dataset.train_videos[: share // 2], "b": dataset.train_videos[share // 2 : share]}
        folder = tmp_path / str(share)
        state = Federation(folder, dataset, held, plan, make_method(method, options), dataset.train_videos).run()
        lines = {site: ledger(folder, site) for site in held}
        for own in lines.values():
            assert [(line["step"], line["schema"]) for line in own] == sent
            assert [line["bytes"] for line in own] == [BYTES[schema] for _, schema in sent]
        assert int(state["bytes_up"]) == sum(line["bytes"] for own in lines.values() for line in own)
        shapes.append([line["shapes"] for line in lines["a"]])
    assert shapes[0] == shapes[1]
    assert {schema for _, schema in sent} <= {declared.name for declared in schemas()}


def test_every_declared_schema_is_a_fixed_number_of_bytes():
    """From the declaration alone: no size but numbers, D, the sites of a secure sum, and the vectors it sums."""
    SITES, NARROW, WIDE, sizes = 13, 700, 30, {}
    for declared in schemas():
        size = 0
        for field in declared.fields.values():
            shape = [
                {"D": DIM, "DD": DIM * (DIM + 1) // 2, "P": SITES, "N": NARROW, "W": WIDE}.get(n, n)
                for n in field.shape
            ]
            assert all(isinstance(n, int) and n > 0 for n in shape)
            size += int(np.prod(shape, dtype=int)) * np.dtype(field.dtype).itemsize
        sizes[declared.name] = size
    of_runs_over_sites = {"features_description": 4096, "evaluation_histogram": 2 * 8 * BINS}
    secure = {"secure_keys": 64 + 4096, "secure_shares": 92 * SITES, "secure_unmasking": 32 * SITES}
    of_clap = {"normal_moments": 24, "summary_moments": 64, "mixture_statistics": 8 * 15 * 13}
    weights = [32 + 1, 512 * 32 + 32, 512 * DIM + 512]
    private = {"private_scales": 8 * (2 + DIM), "private_moments": 8 * (1 + 2 * DIM), "private_centre": 8 * 3}
    private |= {"private_mixture": 8 * 14, "private_gaussian": 8 * 3, "private_scores": 8 * 16}
    private |= {f"private_gradient_{layers}": 4 * sum(weights[:layers]) for layers in (1, 2, 3)}
    assert sizes == {**BYTES, **of_runs_over_sites, **of_clap, **private, **secure, "masked": 4 * NARROW + 8 * WIDE}
