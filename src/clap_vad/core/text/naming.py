"""Names for people: how to store and sort them."""

from __future__ import annotations

import re

__all__ = ["natural_key", "storable"]


def storable(text: str) -> str:
    """The text in valid UTF-8: file names may contain any bytes, which become ``?``.

    >>> storable("gate-\\udcff")
    'gate-?'
    """
    return text.encode("utf-8", "replace").decode()


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key that compares digits as numbers; ties are broken by the text itself, so the order is total.

    >>> sorted(["clip10", "clip2", "clip02"], key=natural_key)
    ['clip02', 'clip2', 'clip10']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text
