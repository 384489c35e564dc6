"""The one exception that bad input raises, and what of a text is fit to be printed.

Everything a user can get wrong ends as a :class:`ClapError` whose text is one sentence that names the file,
the place in it and the remedy. The command line prints that sentence and exits with status 2.

Such a sentence holds names that others chose: of files, cameras, sites. Escape sequences in them would be obeyed by a
terminal, line ends would forge lines of a log, marks that turn the direction of writing would show a name as another
one. So a name that the product is to keep is refused (:func:`unprintable`), and what it only repeats is written with
escapes in place of them (:func:`harmless`).
"""

import unicodedata

__all__ = ["ClapError", "harmless", "unprintable"]

_UNFIT = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of control and format characters, halves of characters, ends of lines and paragraphs."""
_JOINERS = frozenset("\u200c\u200d")  # format characters that Persian, Indian languages and emoji are written with


class ClapError(Exception):
    """Bad usage or bad input, told in one clear sentence, which is :func:`harmless`.

    >>> str(ClapError("video.mp4: holds no video stream; give a file with a picture"))
    'video.mp4: holds no video stream; give a file with a picture'
    >>> print(ClapError("\x1b[2Jgate.mp4: the file is empty"))
    \\x1b[2Jgate.mp4: the file is empty
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(harmless(sentence))


def unprintable(text: str) -> bool:
    """Whether a name holds what no name may: control characters and escape sequences, line ends, marks that turn the
    direction of writing or show nothing, and what UTF-8 cannot hold.

    >>> [unprintable(name) for name in ("Großer Platz 3", "a\\nb", "\\x1b[31mgate", "gate\\u202e4pm.exe")]
    [False, True, True, True]
    """
    return any(map(_unfit, text))


def harmless(text: str) -> str:
    """A text with escapes in place of the characters that make a name :func:`unprintable`.

    >>> harmless("gate\\n\\x1b[31m \\u202e3")
    'gate\\\\n\\\\x1b[31m \\\\u202e3'
    """
    return "".join(repr(c)[1:-1] if _unfit(c) else c for c in text)


def _unfit(character: str) -> bool:
    return unicodedata.category(character) in _UNFIT and character not in _JOINERS
