"""The exception for bad input, and escapes for texts that are printed.

Every user error ends as a :class:`ClapError`: one sentence that names the file, the place in it and the remedy. The
command line prints the sentence and exits with status 2.

The sentence may repeat names chosen by others: of files, cameras, sites. Escape sequences in a name would control the
terminal, line breaks would forge log lines, and direction marks would display another name. A name that is stored is
therefore refused if it contains such characters (:func:`unprintable`); in a text that is only printed they are escaped
(:func:`harmless`).
"""

import unicodedata

__all__ = ["ClapError", "harmless", "unprintable"]

_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories: control and format characters, surrogates, line and paragraph separators."""
_JOINERS = frozenset("\u200c\u200d")  # format characters needed for Persian, Indian languages and emoji


class ClapError(Exception):
    """Bad usage or bad input, described in one sentence, which is escaped by :func:`harmless`.

    >>> str(ClapError("video.mp4: holds no video stream; give a file with a picture"))
    'video.mp4: holds no video stream; give a file with a picture'
    >>> print(ClapError("\x1b[2Jgate.mp4: the file is empty"))
    \\x1b[2Jgate.mp4: the file is empty
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(harmless(sentence))


def unprintable(text: str) -> bool:
    """Whether a name contains a forbidden character: control characters and escape sequences, line breaks, direction
    marks, invisible characters, and characters that UTF-8 cannot encode.

    >>> [unprintable(name) for name in ("Großer Platz 3", "a\\nb", "\\x1b[31mgate", "gate\\u202e4pm.exe")]
    [False, True, True, True]
    """
    return any(map(_unfit, text))


def harmless(text: str) -> str:
    """The text with its :func:`unprintable` characters escaped.

    >>> harmless("gate\\n\\x1b[31m \\u202e3")
    'gate\\\\n\\\\x1b[31m \\\\u202e3'
    """
    return "".join(repr(c)[1:-1] if _unfit(c) else c for c in text)


def _unfit(character: str) -> bool:
    return unicodedata.category(character) in _UNFIT and character not in _JOINERS
