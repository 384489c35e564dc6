"""The colours of plots and pages."""

from __future__ import annotations

__all__ = ["PALETTE"]

#: Role -> colour. The page replaces them by style-sheet variables of the same names, so that plots follow its theme.
PALETTE = {
    "ink": "#1c2733",
    "rule": "#c9d1d9",
    "curve": "#0072b2",
    "limit": "#d55e00",
    "truth": "#e69f00",
    "event": "#56b4e9",
    "second": "#009e73",
    "third": "#cc79a7",
}
