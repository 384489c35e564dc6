"""Names for people: what can be stored of them, and in which order they stand."""

from __future__ import annotations

import re

__all__ = ["natural_key", "storable"]


def storable(text: str) -> str:
    """What a text is where only UTF-8 is taken: names of files may hold any bytes.

    >>> storable("gate-\\udcff")
    'gate-?'
    """
    return text.encode("utf-8", "replace").decode()


def natural_key(text: str) -> tuple[list[str | int], str]:
    """Sort key that counts digits as numbers; the text itself settles ties, so the order is total.

    >>> sorted(["clip10", "clip2", "clip02"], key=natural_key)
    ['clip02', 'clip2', 'clip10']
    """
    parts = re.split(r"([0-9]+)", text)
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], text
