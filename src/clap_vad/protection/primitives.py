"""Cryptographic primitives of a secure sum, from libraries: key agreement, key derivation, encryption, masks.

X25519 (RFC 7748), HKDF-SHA256 (RFC 5869), ChaCha20-Poly1305 and ChaCha20 (RFC 8439).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ..errors import ClapError
from .packing import pack
from .session import KEY_BYTES

__all__ = ["Random", "add_mask", "agree", "derive", "new_key", "public_half", "seal", "unseal"]

Random = Callable[[int], bytes]
"""Returns this many random bytes."""
_NONCE = 12
_ZEROS = bytes(1 << 20)


def new_key(random: Random) -> X25519PrivateKey:
    """A fresh X25519 key."""
    return X25519PrivateKey.from_private_bytes(random(KEY_BYTES))


def public_half(key: X25519PrivateKey) -> bytes:
    """The public key, 32 bytes."""
    return key.public_key().public_bytes_raw()


def agree(key: X25519PrivateKey, public: bytes) -> bytes:
    """The shared secret, 32 bytes, that only the owners of two keys can compute.

    Raises:
        ClapError: the public key is one of the few with a known shared secret.
    """
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise ClapError("its public key gives no shared secret") from None


def derive(secret: bytes, *purpose: str | bytes) -> bytes:
    """A key of 32 bytes for one purpose, by HKDF-SHA256."""
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=pack(*purpose)).derive(secret)


def seal(key: bytes, plain: bytes, associated: bytes, random: Random) -> bytes:
    """Encrypt and authenticate: nonce, ciphertext and tag. ``associated`` is authenticated but not included."""
    nonce = random(_NONCE)
    return nonce + ChaCha20Poly1305(key).encrypt(nonce, plain, associated)


def unseal(key: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext given to :func:`seal`; raises :class:`ClapError` if anything was altered."""
    try:
        return ChaCha20Poly1305(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], associated)
    except InvalidTag:
        raise ClapError("a ciphertext that was altered, or is for another participant") from None


def add_mask(key: bytes, narrow: np.ndarray, wide: np.ndarray, sign: int) -> None:
    """Add, or subtract, a key's ChaCha20 keystream to two vectors in place: little-endian, the wide vector's first.

    Args:
        key: 32 bytes, used for nothing else: the nonce is zero.
        narrow: (p,) uint32.
        wide: (q,) uint64.
        sign: 1 or -1.
    """
    stream = np.empty(wide.nbytes + narrow.nbytes, np.uint8)
    cipher = Cipher(ChaCha20(key, bytes(16)), mode=None).encryptor()
    for start in range(0, stream.size, len(_ZEROS)):
        part = stream.data[start : start + len(_ZEROS)]
        cipher.update_into(memoryview(_ZEROS)[: len(part)], part)
    operation = np.add if sign > 0 else np.subtract
    operation(wide, stream[: wide.nbytes].view("<u8"), out=wide)
    operation(narrow, stream[wide.nbytes :].view("<u4"), out=narrow)
