"""Colours of plots, pages and annotated videos: the palette of Okabe and Ito, for any colour vision."""

from __future__ import annotations

__all__ = ["PALETTE", "THEMES"]

#: Role -> colour. The page replaces these by CSS variables of the same names, so that plots follow its theme.
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

#: Theme -> role -> colour; ``soft`` is the text colour of notes, ``paper`` and ``panel`` are background colours.
THEMES = {
    "light": {"paper": "#ffffff", "panel": "#f5f7f9", "soft": "#55616e", **PALETTE},
    "dark": {
        "paper": "#14191f",
        "panel": "#1d242c",
        "soft": "#a3b0bd",
        "ink": "#e6ebf0",
        "rule": "#3a4652",
        "curve": "#6cc3f5",
        "limit": "#ff8f4d",
        "truth": "#f0b73d",
        "event": "#3b87b5",
        "second": "#3fc79d",
        "third": "#e3a1c6",
    },
}
