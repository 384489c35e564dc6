"""The one exception that bad input raises.

Everything a user can get wrong ends as a :class:`ClapError` whose text is one sentence that names the file,
the place in it and the remedy. The command line prints that sentence and exits with status 2.
"""

__all__ = ["ClapError"]


class ClapError(Exception):
    """Bad usage or bad input, told in one clear sentence.

    >>> str(ClapError("video.mp4: holds no video stream; give a file with a picture"))
    'video.mp4: holds no video stream; give a file with a picture'
    """
