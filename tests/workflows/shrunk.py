"""GCL with a generator of a few thousand weights, so that its rounds take no longer than the other methods'."""

from __future__ import annotations

import dataclasses

import pytest

from clap_vad.detector import autoencoder
from clap_vad.federation import messages

HIDDEN = (24, 12, 6, 12, 24)


def shrink_generator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller layers in the network, and with them in the messages that carry it."""
    monkeypatch.setattr(autoencoder, "_HIDDEN", HIDDEN)
    shapes = {f"update.{name}": shape for name, shape in autoencoder.generator_shapes(0).items()}
    for name in ("generator_update", "cooperative_update"):
        declared = messages.schema(name)
        fields = {
            key: messages.Field(tuple(n or "D" for n in shapes[key]), "float32") if key in shapes else field
            for key, field in declared.fields.items()
        }
        shrunk = dataclasses.replace(declared, fields=fields)
        for each in (shrunk, messages.encoded_schema(shrunk)):
            monkeypatch.setitem(messages._SCHEMAS, each.name, each)
