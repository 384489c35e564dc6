"""What no method asks for, but a run itself: that a step was done, and which features a site has."""

from __future__ import annotations

from ..schema import Field, Schema

__all__ = ["ACKNOWLEDGEMENT", "DESCRIPTION_BYTES", "SCHEMAS"]

ACKNOWLEDGEMENT = "acknowledgement"
DESCRIPTION_BYTES = 4096

SCHEMAS = (
    Schema(ACKNOWLEDGEMENT, {}, False, "that a step was done, and nothing else", bare=True),
    Schema(
        "features_description",
        {"description": Field((DESCRIPTION_BYTES,), "uint8")},
        False,
        "which features the site has: extractor and its settings, dimensions, crops, frames per segment (JSON, padded)",
        bare=True,
    ),
)
