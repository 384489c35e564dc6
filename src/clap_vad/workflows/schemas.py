"""``clap privacy schemas``: everything that can leave a site, and whether its size could grow with the videos."""

from __future__ import annotations

import math
from typing import Any

from ..federation.messages import Field, schemas

__all__ = ["SYMBOLS", "privacy_schemas"]

SYMBOLS = {
    "D": "floats of a feature vector, the same at all sites and fixed by the extractor",
    "DD": "entries of the upper triangle of a matrix of D x D",
    "P": "participants of a secure sum",
    "N": "entries of the message under masks that fit 32 bits: fixed by D and that message's own schema",
    "W": "entries of the message under masks that need 64 bits: fixed by D and that message's own schema",
}
"""Symbolic sizes; none depends on the number of segments or videos of a site."""


def privacy_schemas() -> dict[str, Any]:
    """Describe everything that can leave a site.

    Returns:
        A JSON-able dict: ``schemas`` (each with ``sum``: secure aggregation can hide it; ``bare``: it may stay
        unmasked there; ``noised``: it belongs to runs with differential privacy; and its ``fields`` with shape, type,
        range and the bound in secure sums), ``symbols``, and ``bounded``: no shape can grow with segments or videos.
    """
    rows = [
        {
            "schema": declared.name,
            "purpose": declared.purpose,
            "sum": declared.summable,
            "bare": declared.bare,
            "noised": bool(declared.noised),
            "fields": {name: _field(field) for name, field in declared.fields.items()},
            "bounded": all(_bounded(field) for field in declared.fields.values()),
        }
        for declared in schemas()
    ]
    return {"schemas": rows, "symbols": SYMBOLS, "bounded": all(row["bounded"] for row in rows)}


def _field(field: Field) -> dict[str, Any]:
    low, high = (value if math.isfinite(value) else None for value in (field.low, field.high))
    return {"shape": list(field.shape), "dtype": field.dtype, "low": low, "high": high, "bound": field.bound}


def _bounded(field: Field) -> bool:
    return all(isinstance(size, int) or size in SYMBOLS for size in field.shape)
