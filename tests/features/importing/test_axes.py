"""The order of axes of foreign features: recognised where only one reading is possible, else asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clap_vad.errors import ClapError
from clap_vad.features.importing.axes import LAYOUTS, arrange, check_layout, choose_order, layout_name, squeezed


def shapes(*every: tuple[int, ...]) -> dict[Path, tuple[int, ...]]:
    return {Path(f"v{k}.npy"): squeezed(shape) for k, shape in enumerate(every)}


@pytest.mark.parametrize(
    ("order", "every"),
    [
        ("TCD", [(32, 10, 2048)]),
        ("TCD", [(32, 10, 64)] * 6),
        ("TCD", [(7, 10, 64), (31, 10, 64)]),
        ("TCD", [(7, 64, 96), (31, 64, 96)]),
        ("TCD", [(1, 10, 2048), (1, 10, 2048)]),
        ("TCD", [(32, 10, 64, 1), (33, 10, 64, 1)]),
        ("TCD", [(1, 32, 10, 64), (1, 33, 10, 64)]),
        ("CTD", [(10, 32, 2048), (10, 33, 2048)]),
        ("CTD", [(10, 32, 64), (10, 40, 64)]),
        ("CTD", [(1, 32, 64)] * 3),
        ("CTD", [(1, 10, 32, 64), (1, 10, 8, 64)]),
        ("TDC", [(32, 2048, 10)]),
        ("TDC", [(32, 2048, 5), (7, 2048, 5)]),
        ("CDT", [(10, 2048, 32), (10, 2048, 9)]),
        ("DCT", [(2048, 10, 32), (2048, 10, 9)]),
        ("DTC", [(2048, 32, 10), (2048, 9, 10)]),
        ("TD", [(32, 2048)]),
        ("TD", [(200, 64)]),
        ("TD", [(9, 64), (300, 64)]),
        ("DT", [(64, 9), (64, 300)]),
        ("DT", [(1, 2048, 9), (1, 2048, 12)]),
        ("TCD", [(9, 64), (300, 1, 64)]),
    ],
)
def test_certain_orders(order: str, every: list[tuple[int, ...]]):
    if order == "DT":  # a batch axis before two axes is one crop
        assert choose_order(shapes(*every)) in ("DT", "CDT")
    else:
        assert choose_order(shapes(*every)) == order


@pytest.mark.parametrize(
    ("every", "readings"),
    [
        ([(10, 32, 64)] * 6, ["segments-crops-dim", "crops-segments-dim"]),
        ([(10, 32, 2048)], ["segments-crops-dim", "crops-segments-dim"]),
        ([(10, 10, 2048)], ["segments-crops-dim", "crops-segments-dim"]),
        ([(4, 32, 64)], ["segments-crops-dim", "crops-segments-dim"]),
        ([(32, 64, 10)], ["segments-crops-dim", "segments-dim-crops"]),
        ([(7, 64, 10), (9, 64, 10)], ["segments-crops-dim", "segments-dim-crops"]),
        ([(64, 9, 10), (64, 12, 10)], ["crops-segments-dim", "dim-segments-crops"]),
        ([(2048, 10, 32)], ["segments-crops-dim", "dim-segments-crops", "dim-crops-segments"]),
        ([(2048, 32)], ["segments-dim", "dim-segments"]),
        ([(64, 32)] * 3, ["segments-dim", "dim-segments"]),
    ],
)
def test_uncertain_orders_are_asked_for_and_the_answer_is_taken(every: list[tuple[int, ...]], readings: list[str]):
    with pytest.raises(ClapError, match=r"v0\.npy: its shape .* can be read in . ways") as caught:
        choose_order(shapes(*every))
    assert [name for name in LAYOUTS if f"--layout {name})" in str(caught.value)] == sorted(readings, key=LAYOUTS.index)
    for name in readings:
        assert layout_name(choose_order(shapes(*every), name)) == name


def test_the_message_has_the_sizes_of_both_readings():
    with pytest.raises(ClapError, match=r"10 segments of 32 crops x 64 numbers .* or 32 segments of 10 crops x 64"):
        choose_order(shapes(*[(10, 32, 64)] * 6))


@pytest.mark.parametrize(
    ("every", "layout", "says"),
    [
        ([(10, 32, 64), (32, 10, 64)], None, r"v1\.npy: crops and dimension are \(10, 64\) but \(32, 64\) in v0\.npy"),
        ([(32, 10, 2048), (32, 5, 2048)], None, "import files of one kind"),
        ([(9, 2048), (9, 1024)], None, "import files of one kind"),
        ([(7, 10, 64), (9, 5, 64)], "segments-crops-dim", "import files of one kind"),
        ([(7, 64)], "segments-crops-dim", r"has 2 axes, but --layout segments-crops-dim names 3"),
        ([(7, 64)], "TD", "--layout 'TD' is unknown; choose one of segments-crops-dim"),
    ],
)
def test_mixed_orders_and_wrong_answers_are_refused(every: list[tuple[int, ...]], layout: str | None, says: str):
    with pytest.raises(ClapError, match=says):
        choose_order(shapes(*every), layout)


def test_an_index_decides_the_axis_of_segments():
    assert choose_order(shapes((10, 500, 64)), rows=500) == "CTD"
    assert choose_order(shapes((500, 10, 64)), rows=500) == "TCD"
    assert choose_order(shapes((64, 500)), rows=500) == "DT"


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("memory", ["C", "F"])
def test_every_order_is_brought_to_segments_crops_dim(name: str, memory: str):
    order = check_layout(name)
    meant = np.arange(4 * 3 * 5).reshape(4, 3, 5) if "C" in order else np.arange(20).reshape(4, 1, 5)
    source = meant if "C" in order else meant[:, 0]
    array = np.asarray(
        source.transpose(["TCD".replace("C", "" if "C" not in order else "C").index(a) for a in order]), order=memory
    )
    np.testing.assert_array_equal(arrange(array, order), meant)
