"""Messages: named arrays and scalars, each kind with a declared schema that says all it can hold.

Whatever leaves a site is checked against its schema at the site, and again where it arrives. A schema fixes every
shape, so no message can hold an array whose length grows with the number of segments or videos.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..core.density import COMPONENTS, triangle
from ..core.federated_mixture import STARTS
from ..core.histogram import BINS
from ..core.private_statistics import SCORE_BINS
from ..core.quantisation import MOST_STEPS
from ..core.surprise import SURPRISE_BINS
from ..detector.autoencoder import generator_shapes
from ..detector.network import LAYERS, last_layers, weight_shapes
from ..errors import ClapError
from ..protection.session import KEY_BYTES, SEALED_BYTES, SHARE_BYTES, SIGNATURE_BYTES

__all__ = [
    "ACKNOWLEDGEMENT",
    "DESCRIPTION_BYTES",
    "Field",
    "Message",
    "Schema",
    "check_message",
    "encoded",
    "encoded_schema",
    "message_bytes",
    "schema",
    "schemas",
]

Message = dict[str, np.ndarray | int | float]


@dataclass(frozen=True)
class Field:
    """One entry of a message.

    Attributes:
        shape: sizes; the symbol ``"D"`` stands for the feature dimension, ``"DD"`` for the entries of the upper
            triangle of a matrix of D x D, ``"P"`` for the participants of a secure sum, ``"N"`` and ``"W"`` for the
            entries of the vectors it sums. ``()`` is a scalar.
        dtype: ``float32``, ``float64``, ``int8``, ``int64``, ``uint8``, ``uint32`` or ``uint64``.
        low, high: bounds of every value.
        bound: in a secure sum values are clipped to [-bound, bound]. One that holds for every message makes an
            overflow of the sum impossible; the smaller it is, the finer the fixed point.
    """

    shape: tuple[int | str, ...]
    dtype: str = "float64"
    low: float = -math.inf
    high: float = math.inf
    bound: float = 2.0**40

    def sizes(self, dim: int) -> tuple[int | str, ...]:
        """The shape for D = ``dim``.

        >>> Field((64, "DD")).sizes(10)
        (64, 55)
        """
        known: dict[int | str, int] = {"D": dim, "DD": triangle(dim)}
        return tuple(known.get(size, size) for size in self.shape)


@dataclass(frozen=True)
class Schema:
    """What a message may hold.

    Attributes:
        name: as it stands in the ledger and in a site's policy.
        fields: every entry, none optional.
        summable: the coordinator needs only the sum over participants, so secure aggregation can hide the parts.
        mean: the entries, but for ``count``, are means over so many segments; their sum is one of shares.
        bare: holds nothing that depends on any video, so that it may stay as it is under secure aggregation.
        noised: a sum over videos of contributions of L2 norm at most 1, to which a site adds noise before it leaves:
            under differential privacy nothing else does. ``statistics`` or ``training`` says whose noise.
        purpose: why it leaves the site, in words for its operator.
    """

    name: str
    fields: Mapping[str, Field]
    summable: bool
    purpose: str
    mean: bool = False
    bare: bool = False
    noised: str = ""


_SCHEMAS: dict[str, Schema] = {}


def _define(
    name: str,
    fields: Mapping[str, Field],
    purpose: str,
    summable: bool = True,
    mean: bool = False,
    bare: bool = False,
    noised: str = "",
) -> None:
    _SCHEMAS[name] = Schema(name, fields, summable, purpose, mean, bare, noised)


ACKNOWLEDGEMENT = "acknowledgement"
DESCRIPTION_BYTES = 4096

_COUNT = Field((), "int64", low=0)
_define(ACKNOWLEDGEMENT, {}, "that a step was done, and nothing else", summable=False, bare=True)
_define(
    "features_description",
    {"description": Field((DESCRIPTION_BYTES,), "uint8")},
    "which features the site has: extractor and its settings, dimensions, crops, frames per segment (JSON, padded)",
    summable=False,
    bare=True,
)
_define(
    "feature_moments",
    {"count": _COUNT, "sum": Field(("D",)), "sumsq": Field(("D",), low=0)},
    "normalisation: how many feature vectors, their sum and sum of squares per dimension",
)
_define(
    "normal_gaussian",
    {"count": _COUNT, "mean": Field(()), "variance": Field((), low=0)},
    "common density, paper form: this site's own Gaussian of normal magnitudes (not a sum: the named exception)",
    summable=False,
)
_define(
    "normal_moments",
    {"count": _COUNT, "sum": Field(()), "sumsq": Field((), low=0)},
    "common density, pooled form: count, sum and sum of squares of normal magnitudes",
)
_STANDARDISED = 2.0**24
"""Of sums over videos, numbers of order 1 each; a nearly empty component needs the finer fixed point."""
_define(
    "summary_moments",
    {"count": _COUNT, "unlabelled": _COUNT, "sum": Field((2,)), "outer": Field((2, 2), bound=2.0**48)},
    "federated segregation: how many videos, how many of them without a label, sum and sum of products of their "
    "summaries (largest rise, entropy); of a site with one video that is the video's own summary",
)
_define(
    "mixture_statistics",
    {
        "responsibility": Field((STARTS, 2), low=0, bound=_STANDARDISED),
        "sum": Field((STARTS, 2, 2), bound=_STANDARDISED),
        "outer": Field((STARTS, 2, 2, 2), bound=_STANDARDISED),
        "likelihood": Field((STARTS,), bound=_STANDARDISED),
    },
    "federated segregation, a step of EM: of each start and component the summed responsibility for the site's videos, "
    "the sum and the sum of products of their summaries weighted by it; each start's log likelihood",
)
_define(
    "density_statistics",
    {
        "mass": Field((COMPONENTS,), low=0, bound=2.0**30),
        "sum": Field((COMPONENTS, "D"), bound=2.0**34),
        "outer": Field((COMPONENTS, "DD"), bound=2.0**38),
        "likelihood": Field((), bound=2.0**38),
        "count": _COUNT,
    },
    "common density, a step of EM: of each of its components the summed responsibility for the site's crops, the sum "
    "and the sum of products of their few standardised numbers weighted by it, nothing of one that holds fewer than 5 "
    "of them; the log likelihood and the number of all",
)
_define(
    "surprise_histograms",
    {name: Field((SURPRISE_BINS,), "int64", low=0) for name in ("common", "whole", "placeless", "memory")},
    "common scale: how many of the site's crops lie in each of the fixed bins of unlikeliness under the common "
    "density, under the site's own with and without positions, and of distance from the site's memory",
)
_define("segment_count", {"count": _COUNT}, "how many segments the site trains on, its weight in the mean")


_LARGEST_CHANGE = 8.0
"""Of a weight, or of a mean gradient, in a round; fixed-point steps of 13 participants are then 6e-8."""


def _weights(prefix: str, shapes: Mapping[str, tuple[int, ...]], bound: float = _LARGEST_CHANGE) -> dict[str, Field]:
    """Fields of arrays like these weights. The shapes are those for D = 0: they have a 0 exactly where D stands."""
    return {
        f"{prefix}.{name}": Field(tuple(n or "D" for n in shape), "float32", bound=bound)
        for name, shape in shapes.items()
    }


_TRAINED = {"count": _COUNT, "loss": Field((), low=0)}
_define(
    "model_update",
    {**_weights("update", weight_shapes(0)), **_TRAINED},
    "change of the detector's weights by local training, segments trained on, mean training loss",
    mean=True,
)
_define(
    "scaffold_update",
    {**_weights("update", weight_shapes(0)), **_weights("control", weight_shapes(0)), **_TRAINED},
    "as model_update, and the change of the site's control variate (its mean gradient over the round)",
    mean=True,
)
_define(
    "generator_update",
    {**_weights("update", generator_shapes(0)), **_TRAINED},
    "change of the weights of GCL's generator by local training, segments trained on, mean training loss",
    mean=True,
)
_define(
    "cooperative_update",
    {**_weights("update", {**weight_shapes(0), **generator_shapes(0)}), **_TRAINED},
    "change of the weights of GCL's detector and generator by local training, segments trained on, mean training loss",
    mean=True,
)
_define(
    "score_histogram",
    {"counts": Field((BINS,), "int64", low=0)},
    "alarm threshold: how many training segments score in each of the fixed bins",
)
_define(
    "evaluation_histogram",
    {"normal": Field((BINS,), "int64", low=0), "abnormal": Field((BINS,), "int64", low=0)},
    "evaluation: how many normal and abnormal frames of the site's own test videos score in each of the fixed bins",
)

_NOISED = 2.0**24
"""Of sums over videos of numbers of at most 1, with their noise."""
_NOISED_GRADIENT = 2.0**10


def _define_noised(name: str, sizes: Mapping[str, tuple[int | str, ...]], purpose: str) -> None:
    fields = {key: Field(shape, bound=_NOISED) for key, shape in sizes.items()}
    _define(name, fields, "differential privacy, " + purpose, noised="statistics")


_define_noised(
    "private_scales",
    {"count": (1,), "overall": (1,), "apart": ("D",)},
    "normalisation: noisy sums over videos of 1, of the logarithm of the features' size, of each dimension's from it",
)
_define_noised(
    "private_moments",
    {"count": (1,), "mean": ("D",), "square": ("D",)},
    "normalisation: noisy sums over videos of 1, of the clipped mean and of the clipped mean square per dimension",
)
_define_noised(
    "private_centre",
    {"count": (1,), "pair": (2,)},
    "segregation: noisy sums over videos of 1 and of the clipped pair (logarithm of the largest rise, entropy)",
)
_define_noised(
    "private_mixture",
    {"responsibility": (2,), "sum": (2, 2), "outer": (2, 2, 2)},
    "segregation, a step of EM: noisy sums over videos of responsibilities, and of clipped pairs weighted by them",
)
_define_noised(
    "private_gaussian",
    {"count": (1,), "magnitude": (1,), "square": (1,)},
    "common density: noisy sums over normal videos of 1, of the clipped mean and mean square of their magnitudes",
)
_define_noised(
    "private_scores",
    {"bins": (SCORE_BINS,)},
    "alarm threshold: noisy sums over videos of the shares of their segments that score in each of 16 bins",
)
for _layers in range(1, LAYERS + 1):
    _shapes = {name: weight_shapes(0)[name] for name in last_layers(weight_shapes(0), _layers)}
    _define(
        f"private_gradient_{_layers}",
        _weights("gradient", _shapes, bound=_NOISED_GRADIENT),
        "differential privacy, training: noisy sum over the videos drawn in a round of their clipped gradients, with "
        f"respect to the last {_layers} of {LAYERS} layers",
        noised="training",
    )


_define(
    "secure_keys",
    {"keys": Field((2, KEY_BYTES), "uint8"), "signature": Field((SIGNATURE_BYTES,), "uint8")},
    "secure aggregation: two public keys for this one sum, signed with the site's certificate",
    summable=False,
    bare=True,
)
_define(
    "secure_shares",
    {"ciphertexts": Field(("P", SEALED_BYTES), "uint8")},
    "secure aggregation: for each other site shares of this site's masks, encrypted for it",
    summable=False,
    bare=True,
)
_define(
    "masked",
    {"narrow": Field(("N",), "uint32"), "wide": Field(("W",), "uint64")},
    "secure aggregation: a message of any other kind in fixed point under masks that cancel in the sum of all sites",
    summable=False,
    bare=True,
)
_define(
    "secure_unmasking",
    {"shares": Field(("P", SHARE_BYTES), "uint8")},
    "secure aggregation: of the masks of the sum, those of sites that dropped out and of the sum's own noise",
    summable=False,
    bare=True,
)


def encoded_schema(plain: Schema) -> Schema:
    """The twin of a schema whose float32 entries are whole steps of 8 bits, see :mod:`clap_vad.federation.encoding`."""

    def twin(field: Field) -> Field:
        return Field(field.shape, "int8", -MOST_STEPS, MOST_STEPS, MOST_STEPS) if field.dtype == "float32" else field

    fields = {name: twin(field) for name, field in plain.fields.items()}
    purpose = f"{plain.purpose}; rounded at random to whole steps of 8 bits"
    return replace(plain, name=plain.name + _ENCODED, fields=fields, purpose=purpose)


_ENCODED = "_int8"
_SCHEMAS |= {
    plain.name + _ENCODED: encoded_schema(plain)
    for plain in _SCHEMAS.values()
    if not plain.noised and any(field.dtype == "float32" for field in plain.fields.values())
}


def encoded(name: str) -> str | None:
    """Name of a schema's twin in 8 bits; None for one without float32 entries.

    >>> encoded("model_update"), encoded("segment_count")
    ('model_update_int8', None)
    """
    return name + _ENCODED if name + _ENCODED in _SCHEMAS else None


def schema(name: str) -> Schema:
    """The schema of this name; raises :class:`ClapError` for one that is not declared."""
    if name not in _SCHEMAS:
        raise ClapError(f"message schema '{name}' is not declared, so nothing of that kind may leave a site")
    return _SCHEMAS[name]


def schemas() -> list[Schema]:
    """All declared schemas: the complete list of what can leave a site."""
    return list(_SCHEMAS.values())


def check_message(name: str, message: Message, dim: int, sender: str) -> None:
    """Raise :class:`ClapError` unless the message is exactly what its schema allows.

    Args:
        name: schema name.
        message: the message.
        dim: D of this federation.
        sender: who made it, for the error.

    >>> check_message("segment_count", {"count": 3}, dim=8, sender="camera-01")
    >>> check_message("segment_count", {"count": -1}, dim=8, sender="camera-01")
    Traceback (most recent call last):
    clap_vad.errors.ClapError: participant 'camera-01', message 'segment_count': 'count' is outside [0, inf]
    """
    fields, where = schema(name).fields, f"participant '{sender}', message '{name}'"
    if fields.keys() != message.keys():
        odd = sorted(fields.keys() ^ message.keys())
        raise ClapError(f"{where}: entries {odd} are missing or not declared")
    for key, field in fields.items():
        value = np.asarray(message[key])
        expected = field.sizes(dim)
        if value.shape != expected:
            raise ClapError(f"{where}: '{key}' has shape {value.shape}; {expected} is declared")
        if value.dtype != np.dtype(field.dtype):
            raise ClapError(f"{where}: '{key}' is {value.dtype}; {field.dtype} is declared")
        if not np.isfinite(value).all():
            raise ClapError(
                f"{where}: '{key}' holds NaN or infinity; look at this participant's features, or lower --lr"
            )
        if value.size and (value.min() < field.low or value.max() > field.high):
            raise ClapError(f"{where}: '{key}' is outside [{field.low:g}, {field.high:g}]")


def message_bytes(message: Message) -> int:
    """Bytes of a message's values: arrays as they are, 8 for a scalar."""
    return sum(np.asarray(value).nbytes for value in message.values())
