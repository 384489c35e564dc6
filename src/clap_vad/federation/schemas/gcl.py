"""GCL's updates: of its generator alone, and of detector and generator together."""

from __future__ import annotations

from ...detector.autoencoder import generator_shapes
from ...detector.network import weight_shapes
from ..schema import Schema
from .shared import SEGMENTS, TRAINED, trained, weight_fields

__all__ = ["SCHEMAS"]

SCHEMAS = (
    Schema(
        "generator_update",
        {**weight_fields("update", generator_shapes(0)), **TRAINED},
        True,
        "change of the weights of GCL's generator by local training, segments trained on, mean training loss",
        mean=True,
        possible=trained,
        size=SEGMENTS,
    ),
    Schema(
        "cooperative_update",
        {**weight_fields("update", {**weight_shapes(0), **generator_shapes(0)}), **TRAINED},
        True,
        "change of the weights of GCL's detector and generator by local training, segments trained on, mean training "
        "loss",
        mean=True,
        possible=trained,
        size=SEGMENTS,
    ),
)
