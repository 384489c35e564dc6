"""The order of the axes of imported features: found from the shapes of all files, or stated by the user.

T is segments, C crops, D dimension. The documented orders are TCD and TD. Others are recognised if only one order is
possible: T is the axis whose length differs between videos, C is 1, 5 or 10, and D is a usual width of networks. If
several are possible, the user has to choose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import ClapError

__all__ = ["DOCUMENTED", "LAYOUTS", "arrange", "check_layout", "choose_order", "layout_name", "squeezed"]

_WORDS = {"T": "segments", "C": "crops", "D": "dim"}
_ORDERS = ("TCD", "CTD", "TDC", "CDT", "DTC", "DCT", "TD", "DT")
LAYOUTS = tuple("-".join(_WORDS[axis] for axis in order) for order in _ORDERS)
"""Names of the orders of axes for the option ``--layout`` of ``clap features import``."""

DOCUMENTED = ("segments-crops-dim", "segments-dim")
"""The orders that the formats document."""

_CROPS = (1, 5, 10)  # one view; four corners and centre; these and their mirror images
_DIMS = frozenset({256, 384, 400, 512, 640, 768, 1024, 1280, 1408, 1536, 2048, 2304, 4096})
_MOST_CROPS = 16  # a longer axis is probably T

Shape = tuple[int, ...]


def check_layout(layout: str | None) -> str | None:
    """The order of axes, such as ``CTD``, of a name; raises :class:`ClapError` for an unknown name."""
    if layout is not None and layout not in LAYOUTS:
        raise ClapError(f"--layout '{layout}' is unknown; choose one of {', '.join(LAYOUTS)}")
    return None if layout is None else _ORDERS[LAYOUTS.index(layout)]


def layout_name(order: str) -> str:
    """The name of an order of axes.

    >>> layout_name("CTD")
    'crops-segments-dim'
    """
    return LAYOUTS[_ORDERS.index(order)]


def squeezed(shape: Shape) -> Shape:
    """Remove a batch axis of length 1 at the start or end of a shape with four axes; other shapes are not changed.

    >>> squeezed((1, 7, 10, 2048)), squeezed((7, 10, 2048))
    ((7, 10, 2048), (7, 10, 2048))
    """
    if len(shape) == 4 and shape[0] == 1:
        return shape[1:]
    return shape[:-1] if len(shape) == 4 and shape[-1] == 1 else shape


def arrange(array: np.ndarray, order: str) -> np.ndarray:
    """A view (T, C, D) of an array with the axes ``order`` (and optional batch axis); without C, it gets one crop.

    >>> arrange(np.zeros((1, 10, 7, 64)), "CTD").shape, arrange(np.zeros((64, 7)), "DT").shape
    ((7, 10, 64), (7, 1, 64))
    """
    if array.ndim == 4:
        array = array[0] if array.shape[0] == 1 else array[..., 0]
    if array.ndim == 2 and "C" in order:
        return array[:, None, :]  # other files have three axes
    turned = array.transpose([order.index(axis) for axis in "TCD" if axis in order])
    return turned if "C" in order else turned[:, None, :]


def choose_order(shapes: Mapping[Path, Shape], layout: str | None = None, rows: int | None = None) -> str:
    """Find the order of axes of files of one kind.

    Args:
        shapes: shapes of the files without batch axis, two or three axes each. (T, D) and (T, 1, D) may be mixed.
        layout: the order stated by the user, a name of :data:`LAYOUTS`; None to find it.
        rows: number of segments of each file, if an index declares it.

    Raises:
        ClapError: crops or dimension differ between files, the files do not fit ``layout``, or several orders are
            possible; the message lists them with their ``--layout``.
    """
    first = next(iter(shapes))
    stated = check_layout(layout)
    ranks = {len(shape) for shape in shapes.values()}
    if stated:
        for file, shape in shapes.items():
            if len(shape) != len(stated):
                raise ClapError(
                    f"{file}: shape {shape} has {len(shape)} axes, but --layout {layout} names {len(stated)}"
                )
        _check_one_kind(shapes, stated)
        return stated
    if len(ranks) > 1:
        shapes = {file: shape if len(shape) == 3 else (shape[0], 1, shape[1]) for file, shape in shapes.items()}
    every = list(shapes.values())
    varying = [axis for axis in range(len(every[0])) if len({shape[axis] for shape in every}) > 1]
    documented = "TD" if max(ranks) == 2 else "TCD"
    if len(varying) > 1 or len(ranks) > 1:
        readings = [documented]
    elif len(every[0]) == 2:
        readings = _two_axes(every, varying, rows)
    else:
        readings = _three_axes(every[0], varying, rows)
    if len(readings) > 1:
        choices = [f"{_describe(every[0], order)} (--layout {layout_name(order)})" for order in readings]
        raise ClapError(
            f"{first}: its shape {every[0]} can be read in {len(choices)} ways: {' or '.join(choices)}; choose with "
            "--layout of 'clap features import'"
        )
    _check_one_kind(shapes, readings[0])
    return readings[0]


def _two_axes(shapes: Sequence[Shape], varying: Sequence[int], rows: int | None) -> list[str]:
    first, second = shapes[0]
    if rows is not None:
        return ["DT"] if second == rows != first else ["TD"]
    if varying == [0]:
        return ["TD"]
    if varying == [1]:  # files of different dimension, or segments
        return ["TD"] if all(shape[1] in _DIMS for shape in shapes) else ["DT"]
    turned = first in _DIMS and second not in _DIMS
    return ["TD", "DT"] if turned or (len(shapes) > 1 and first > second) else ["TD"]


def _three_axes(shape: Shape, varying: Sequence[int], rows: int | None) -> list[str]:
    """Possible orders of files that differ in at most one axis."""
    if rows is not None:
        equal = [axis for axis in range(3) if shape[axis] == rows]
        varying = equal[:1]
    if not varying:
        return _constant_axes(shape)
    a, b = (axis for axis in range(3) if axis != varying[0])
    later, earlier = (_order(varying[0], a, b), _order(varying[0], b, a))
    if shape[b] in _DIMS and shape[a] not in _DIMS:
        sure = varying[0] == 0 or shape[a] <= _MOST_CROPS
        return [later] if sure else ["TCD"]  # probably files of different kinds
    if shape[a] in _DIMS and shape[b] not in _DIMS:
        return [earlier] if shape[b] in _CROPS else [later, earlier]
    if shape[b] in _CROPS and shape[a] > _MOST_CROPS:
        return [later, earlier]
    if varying[0] == 0 or (varying[0] == 1 and shape[a] in _CROPS):
        return [later]
    return [later, earlier] if varying[0] == 2 or shape[a] > _MOST_CROPS else ["TCD"]


def _constant_axes(shape: Shape) -> list[str]:
    """Possible orders if all files have the same shape."""
    first, second, third = shape
    if third in _DIMS or not {first, second} & _DIMS:
        if third in _CROPS and second > _MOST_CROPS:
            return ["TCD", "TDC"]
        if first == 1 and second not in _CROPS:
            return ["CTD"]
        if first in _CROPS[1:] or (second not in _CROPS and (second > first or second > _MOST_CROPS)):
            return ["TCD", "CTD"]
        return ["TCD"]
    if second in _DIMS and first not in _DIMS:
        sure = [order for order, crops in (("TDC", third), ("CDT", first)) if crops in _CROPS]
        return sure if len(sure) == 1 else ["TDC", "CDT"]
    return ["TCD", "DTC", "DCT"]


def _order(segments: int, crops: int, dim: int) -> str:
    return "".join(axis for _, axis in sorted([(segments, "T"), (crops, "C"), (dim, "D")]))


def _describe(shape: Shape, order: str) -> str:
    size = dict(zip(order, shape, strict=True))
    crops = f"{size['C']} crops x " if "C" in size else ""
    return f"{size['T']} segments of {crops}{size['D']} numbers"


def _check_one_kind(shapes: Mapping[Path, Shape], order: str) -> None:
    """Refuse files that differ in crops or dimension."""
    first: tuple[Path, Shape] | None = None
    for file, shape in shapes.items():
        size = dict(zip(order, shape, strict=True))
        own = (size.get("C", 1), size["D"])
        first = first or (file, own)
        if own != first[1]:
            raise ClapError(
                f"{file}: crops and dimension are {own} but {first[1]} in {first[0]}; import files of one kind with "
                "the same order of axes, or state the order with --layout"
            )
