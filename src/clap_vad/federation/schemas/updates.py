"""Updates of networks that sites train, and what they are weighted by."""

from __future__ import annotations

from collections.abc import Mapping

from ...detector.autoencoder import generator_shapes
from ...detector.network import weight_shapes
from ..schema import Field, Schema
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

SCHEMAS = (
    Schema("segment_count", {"count": COUNT}, True, "how many segments the site trains on, its weight in the mean"),
    Schema(
        "model_update",
        {**weight_fields("update", weight_shapes(0)), **_TRAINED},
        True,
        "change of the detector's weights by local training, segments trained on, mean training loss",
        mean=True,
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
    ),
    Schema(
        "generator_update",
        {**weight_fields("update", generator_shapes(0)), **_TRAINED},
        True,
        "change of the weights of GCL's generator by local training, segments trained on, mean training loss",
        mean=True,
    ),
    Schema(
        "cooperative_update",
        {**weight_fields("update", {**weight_shapes(0), **generator_shapes(0)}), **_TRAINED},
        True,
        "change of the weights of GCL's detector and generator by local training, segments trained on, mean training "
        "loss",
        mean=True,
    ),
)
