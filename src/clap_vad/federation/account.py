"""What a site has answered, and what that has cost, over all its runs.

One file in the site's home, beside the runs and not in them, only ever appended to: deleting a run lowers nothing, and
no coordinator can reset it. A line is on the disk before its answer leaves. It holds the noise of that answer, so that
everything can be reckoned from this file alone, for one video or one crop, of one run, of a year or of all time.

What was asked before the oldest of the present training videos first took part cost the present ones nothing, and does
not count. All that came after does, whatever videos it was asked of.

Times only go forward: a line is at least as young as every line before it, and one that seems to lie ahead counts, so a
clock that is set back lowers nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..core.statistics.accounting import Release, epsilon_of_releases
from ..errors import ClapError
from ..persistence import append_line, write_text
from ..protection.packing import digest

__all__ = ["DELTA", "Account", "Answer", "Data", "epsilon"]

DELTA = 1e-5
"""At which all runs are composed, whatever delta each of them has promised."""

_YEAR = timedelta(days=365)
_NAME = 16  # hexadecimal digits that stand for the name of a video


@dataclass(frozen=True)
class Data:
    """The training videos that a site answers from.

    Attributes:
        id: of the videos' names and the stores' descriptions.
        videos: a digest of each video's name; the account can be shown to others without naming any.
    """

    id: str
    videos: frozenset[str]

    @classmethod
    def of(cls, videos: Iterable[str], stores: Iterable[bytes]) -> Data:
        """Of these training videos, and the descriptions of the stores that hold their features."""
        names = sorted(videos)
        return cls(
            digest("clap-vad data", *names, *stores).hex()[:_NAME],
            frozenset(digest("clap-vad video", name).hex()[:_NAME] for name in names),
        )


@dataclass(frozen=True)
class Answer:
    """A line of ``account.jsonl``: an answer that depends on videos.

    Attributes:
        time: when it was about to leave, ISO 8601, UTC.
        run, step, schema: what it was an answer to.
        data: what it was answered from.
        question: digest of the question.
        answer: SHA-256 of what left.
        noise: its noise multiplier; 0 for none.
        sampling: probability with which a contribution took part.
        unit: ``video`` or ``crop``: whose contribution the noise is reckoned against.
    """

    time: str
    run: str
    step: str
    schema: str
    data: str
    question: str
    answer: str
    noise: float = 0.0
    sampling: float = 1.0
    unit: str = "video"

    def release(self, unit: str) -> Release | None:
        """What it costs this unit; None where nothing bounds that.

        A video more or less moves a sum by at most 1. A crop more or less changes a video's contribution from one of
        at most 1 to another: by at most 2, as if there were half the noise. What bounds a crop bounds no video, which
        may have any number of them.
        """
        if not self.noise or self.unit not in (unit, "video"):
            return None
        return Release(self.noise if self.unit == unit else self.noise / 2, self.sampling)


def epsilon(answers: Iterable[Answer], unit: str, more: Mapping[Release | None, int] | None = None) -> float:
    """What these answers, and these further releases, cost a unit together, at :data:`DELTA`; infinity for no bound."""
    releases = Counter(answer.release(unit) for answer in answers)
    releases.update(more or {})
    if releases.pop(None, 0):
        return math.inf
    return epsilon_of_releases({one: times for one, times in releases.items() if one is not None}, DELTA)


class Account:
    """The file of one site.

    Args:
        file: ``account.jsonl``.
        past: where there is no such file yet: what runs before it have answered. Their videos are taken to be those
            that the site has when it answers next.
        now: the clock.

    Raises:
        ClapError: a line is damaged. One that a kill has torn is of an answer that never left.
    """

    def __init__(
        self,
        file: Path,
        past: Callable[[], Sequence[Answer]] = list,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.file = file
        self._now = now
        self._forget()
        self._pending = not file.exists()
        if self._pending:
            for answer in past():
                self._take(answer)
        self.look()

    def look(self) -> None:
        """Take in what was appended since."""
        if not self.file.exists():
            return
        if self._pending or self.file.stat().st_size < self._read:
            self._forget()  # all of it stands in the file now
            self._pending = False
        with self.file.open("rb") as opened:
            opened.seek(self._read)
            text = opened.read()
        whole = text.rfind(b"\n") + 1
        for line in text[:whole].split(b"\n")[:-1]:
            self._take_line(line)
        self._read += whole

    def counted(self, span: str, data: Data | None = None, run: str = "") -> list[Answer]:
        """Answers that count for these videos: those of a run, of the last 365 days, or all.

        Args:
            span: one of :data:`~clap_vad.federation.bounds.SPANS`.
            data: the present videos; None for whatever was answered at all.
            run: its id, for ``run``.
        """
        since, now = 0, self._now()
        if data is not None and not self._pending:
            since = min((self._first.get(video, len(self._answers)) for video in data.videos), default=0)
        return [
            answer
            for time, answer in self._answers[since:]
            if span == "ever" or (span == "run" and answer.run == run) or (span == "year" and now - time < _YEAR)
        ]

    def has_asked(self, data: Data, question: str, run: str = "") -> bool:
        """Whether this question has been answered from these data, in this run if one is named."""
        return (data.id, question, run) in self._asked

    def has(self, answer: Answer) -> bool:
        """Whether the same question has been given the same answer from the same data."""
        return _identity(answer) in self._known

    def add(self, answer: Answer, data: Data) -> None:
        """Note an answer, and videos that take part for the first time; returns once it will survive a loss of power.

        To be called within :meth:`held`.
        """
        if not self.file.exists():
            self._begin(data)
        if new := sorted(data.videos - self._first.keys()):
            self._append({"time": self._stamp(), "data": data.id, "videos": new})
        self._append(asdict(replace(answer, time=self._stamp())))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """No other process of the site adds to the account while the block runs, which sees all that is there."""
        handle = os.open(self.file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            self.look()
            yield
        finally:
            os.close(handle)

    def _begin(self, data: Data) -> None:
        """Write the file's first lines, all or none."""
        videos = {"time": self._stamp(), "data": data.id, "videos": sorted(data.videos)}
        lines = [json.dumps(videos), *(json.dumps(asdict(answer)) for _, answer in self._answers)]
        write_text(self.file, "".join(f"{line}\n" for line in lines))
        self._pending = True
        self.look()

    def _forget(self) -> None:
        self._answers: list[tuple[datetime, Answer]] = []
        self._first: dict[str, int] = {}
        self._known: set[tuple[str, str, str]] = set()
        self._asked: set[tuple[str, str, str]] = set()
        self._read, self._latest = 0, datetime.min.replace(tzinfo=UTC)

    def _append(self, line: Mapping[str, object]) -> None:
        append_line(self.file, json.dumps(line), durable=True)
        self.look()

    def _stamp(self) -> str:
        return self._now().isoformat(timespec="seconds")

    def _take_line(self, line: bytes) -> None:
        try:
            content = json.loads(line)
            if "videos" in content:
                for video in content["videos"]:
                    self._first.setdefault(str(video), len(self._answers))
            else:
                self._take(Answer(**content))
        except (ValueError, TypeError, KeyError):
            if line.rstrip(b"\0 ").endswith(b"}"):
                raise ClapError(
                    f"{self.file}: a line of it is damaged ({line[:60].decode(errors='replace')}...); restore the "
                    "file, for without it nobody knows what this site has answered"
                ) from None

    def _take(self, answer: Answer) -> None:
        if not (0 <= answer.noise < math.inf and 0 < answer.sampling <= 1):
            raise ValueError(answer.noise)
        self._latest = max(self._latest, datetime.fromisoformat(answer.time).astimezone(UTC))
        self._answers.append((self._latest, answer))
        self._known.add(_identity(answer))
        self._asked.update((answer.data, answer.question, run) for run in ("", answer.run))


def _identity(answer: Answer) -> tuple[str, str, str]:
    return answer.data, answer.question, answer.answer
