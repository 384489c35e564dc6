"""Updates of networks that sites train, and what they are weighted by."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...detector.autoencoder import generator_shapes
from ...detector.network import weight_shapes
from ..schema import Field, Message, Schema, Size
from .statistics import COUNT

__all__ = ["SCHEMAS", "weight_fields"]

_LARGEST_CHANGE = 8.0
"""Of a weight, or of a mean gradient, in a round; fixed-point steps of 13 participants are then 6e-8."""


def weight_fields(
    prefix: str, shapes: Mapping[str, tuple[int, ...]], bound: float = _LARGEST_CHANGE
) -> dict[str, Field]:
    """Fields of arrays like these weights. The shapes are those for D = 0: they have a 0 exactly where D stands."""
    return {
        f"{prefix}.{name}": Field(tuple(n or "D" for n in shape), "float32", bound=bound)
        for name, shape in shapes.items()
    }


_TRAINED = {"count": COUNT, "loss": Field((), low=0)}
_SEGMENTS = Size("segments", ("count",))


def _trained(message: Message, error: float) -> str | None:
    """Who has no segment takes no step. Of a sum with masks nothing is known: its means are over some segments."""
    if float(message["count"]) > 0 or error > 0:
        return None
    moved = any(np.any(value) for name, value in message.items() if "." in name)
    return "it has no segment to train on, and an update" if moved else None


SCHEMAS = (
    Schema(
        "segment_count",
        {"count": COUNT},
        True,
        "how many segments the site trains on, its weight in the mean",
        size=Size("segments", ("count",), all=True),
    ),
    Schema(
        "model_update",
        {**weight_fields("update", weight_shapes(0)), **_TRAINED},
        True,
        "change of the detector's weights by local training, segments trained on, mean training loss",
        mean=True,
        possible=_trained,
        size=_SEGMENTS,
    ),
    Schema(
        "scaffold_update",
        {
            **weight_fields("update", weight_shapes(0)),
            **weight_fields("control", weight_shapes(0)),
            **_TRAINED,
        },
        True,
        "as model_update, and the change of the site's control variate (its mean gradient over the round)",
        mean=True,
        possible=_trained,
        size=_SEGMENTS,
    ),
    Schema(
        "generator_update",
        {**weight_fields("update", generator_shapes(0)), **_TRAINED},
        True,
        "change of the weights of GCL's generator by local training, segments trained on, mean training loss",
        mean=True,
        possible=_trained,
        size=_SEGMENTS,
    ),
    Schema(
        "cooperative_update",
        {**weight_fields("update", {**weight_shapes(0), **generator_shapes(0)}), **_TRAINED},
        True,
        "change of the weights of GCL's detector and generator by local training, segments trained on, mean training "
        "loss",
        mean=True,
        possible=_trained,
        size=_SEGMENTS,
    ),
)
