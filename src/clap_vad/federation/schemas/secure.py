"""Messages of secure aggregation itself."""

from __future__ import annotations

from ...protection.session import KEY_BYTES, SEALED_BYTES, SHARE_BYTES, SIGNATURE_BYTES
from ..schema import Field, Schema

__all__ = ["SCHEMAS"]

SCHEMAS = (
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
