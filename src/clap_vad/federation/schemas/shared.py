"""What all methods share: handshake, normalisation, training, alarm threshold, evaluation, secure aggregation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...core.statistics.histogram import BINS
from ...core.statistics.possible import moments
from ...detector.network import weight_shapes
from ...protection.session import KEY_BYTES, SEALED_BYTES, SHARE_BYTES, SIGNATURE_BYTES
from ..schema import Field, Message, Schema, Size

__all__ = [
    "ACKNOWLEDGEMENT",
    "COUNT",
    "DESCRIPTION_BYTES",
    "SCHEMAS",
    "SEGMENTS",
    "TRAINED",
    "moments_possible",
    "root_mean_square",
    "trained",
    "weight_fields",
]

ACKNOWLEDGEMENT = "acknowledgement"
DESCRIPTION_BYTES = 4096

COUNT = Field((), "int64", low=0)

_BINS = Field((BINS,), "int64", low=0)

_LARGEST_CHANGE = 8.0
"""Bound of a weight's change or a mean gradient in a round; fixed-point steps of 13 participants are then 6e-8."""


def weight_fields(
    prefix: str, shapes: Mapping[str, tuple[int, ...]], bound: float = _LARGEST_CHANGE
) -> dict[str, Field]:
    """Fields of arrays like these weights. The shapes are those for D = 0: each 0 stands for D."""
    return {
        f"{prefix}.{name}": Field(tuple(n or "D" for n in shape), "float32", bound=bound)
        for name, shape in shapes.items()
    }


def moments_possible(message: Message, error: float) -> str | None:
    """Why count, sum and sum of squares are impossible together; None if they are possible."""
    return moments(float(message["count"]), np.asarray(message["sum"]), np.asarray(message["sumsq"]), error)


def root_mean_square(message: Message) -> np.ndarray:
    """Of each number that count and sum of squares are of."""
    return np.sqrt(np.asarray(message["sumsq"], np.float64) / max(float(message["count"]), 1.0))


TRAINED = {"count": COUNT, "loss": Field((), low=0)}
SEGMENTS = Size("segments", ("count",))


def trained(message: Message, error: float) -> str | None:
    """Why an update is impossible; None if it is possible.

    A site without segments has no update. A masked sum is not checked: its means are over some segments.
    """
    if float(message["count"]) > 0 or error > 0:
        return None
    moved = any(np.any(value) for name, value in message.items() if "." in name)
    return "it has no segments to train on, but an update" if moved else None


def _scored(message: Message) -> float:
    return float(np.asarray(message["counts"], np.float64).sum())


SCHEMAS = (
    Schema(ACKNOWLEDGEMENT, {}, False, "that a step was done, and nothing else", bare=True),
    Schema(
        "features_description",
        {"description": Field((DESCRIPTION_BYTES,), "uint8")},
        False,
        "which features the site has: extractor and its settings, dimensions, crops, frames per segment (JSON, padded)",
        bare=True,
    ),
    Schema(
        "feature_moments",
        {"count": COUNT, "sum": Field(("D",)), "sumsq": Field(("D",), low=0)},
        True,
        "normalisation: how many feature vectors, their sum and sum of squares per dimension",
        possible=moments_possible,
        size=Size("vectors", ("count", "sum", "sumsq"), all=True),
        scale=root_mean_square,
    ),
    Schema(
        "segment_count",
        {"count": COUNT},
        True,
        "how many segments the site trains on, its weight in the mean",
        size=Size("segments", ("count",), all=True),
    ),
    Schema(
        "model_update",
        {**weight_fields("update", weight_shapes(0)), **TRAINED},
        True,
        "change of the detector's weights by local training, segments trained on, mean training loss",
        mean=True,
        possible=trained,
        size=SEGMENTS,
    ),
    Schema(
        "scaffold_update",
        {
            **weight_fields("update", weight_shapes(0)),
            **weight_fields("control", weight_shapes(0)),
            **TRAINED,
        },
        True,
        "as model_update, and the change of the site's control variate (its mean gradient over the round)",
        mean=True,
        possible=trained,
        size=SEGMENTS,
    ),
    Schema(
        "score_histogram",
        {"counts": _BINS},
        True,
        "alarm threshold: how many training segments score in each of the fixed bins",
        size=Size("scores", ("counts",), _scored, all=True),
    ),
    Schema(
        "evaluation_histogram",
        {"normal": _BINS, "abnormal": _BINS},
        True,
        "evaluation: how many normal and abnormal frames of the site's own test videos score in each of the fixed bins",
    ),
    Schema(
        "secure_keys",
        {"keys": Field((2, KEY_BYTES), "uint8"), "signature": Field((SIGNATURE_BYTES,), "uint8")},
        False,
        "secure aggregation: two public keys for this one sum, signed with the site's certificate",
        bare=True,
    ),
    Schema(
        "secure_shares",
        {"ciphertexts": Field(("P", SEALED_BYTES), "uint8")},
        False,
        "secure aggregation: for each other site shares of this site's masks, encrypted for it",
        bare=True,
    ),
    Schema(
        "masked",
        {"narrow": Field(("N",), "uint32"), "wide": Field(("W",), "uint64")},
        False,
        "secure aggregation: a message of any other kind in fixed point under masks that cancel in the sum of all "
        "sites",
        bare=True,
    ),
    Schema(
        "secure_unmasking",
        {"shares": Field(("P", SHARE_BYTES), "uint8")},
        False,
        "secure aggregation: of the masks of the sum, those of sites that dropped out and of the sum's own noise",
        bare=True,
    ),
)
