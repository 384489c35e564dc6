"""A site's account: its answers in all runs, and their privacy cost.

One append-only file in the site's folder, beside the runs: deleting a run lowers nothing, and no coordinator can reset
it. A line is on disk before its answer leaves. It holds the noise of that answer, so this file alone gives the cost for
one video or one crop, of one run, of a year or of all time.

Answers from before the oldest of the present training videos first took part cost the present videos nothing and do
not count. All later answers count, whatever videos they were made from.

Times never decrease: each line is at least as late as every line before it, and a line with a time in the future
counts. So setting the clock back lowers nothing.
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
"""Delta at which all runs are composed, whatever delta each of them promised."""

_YEAR = timedelta(days=365)
_NAME = 16  # hexadecimal digits that stand for the name of a video


@dataclass(frozen=True)
class Data:
    """The training videos that a site answers from.

    Attributes:
        id: digest of the videos' names and the stores' descriptions.
        videos: a digest of each video's name, so that the account can be shown to others.
    """

    id: str
    videos: frozenset[str]

    @classmethod
    def of(cls, videos: Iterable[str], stores: Iterable[bytes]) -> Data:
        """From the training videos, and the descriptions of the stores that hold their features."""
        names = sorted(videos)
        return cls(
            digest("clap-vad data", *names, *stores).hex()[:_NAME],
            frozenset(digest("clap-vad video", name).hex()[:_NAME] for name in names),
        )


@dataclass(frozen=True)
class Answer:
    """A line of ``account.jsonl``: an answer that depends on videos.

    Attributes:
        time: just before it left, ISO 8601, UTC.
        run, step, schema: of the question.
        data: id of the :class:`Data` that it was made from.
        question: digest of the question.
        answer: SHA-256 of what left.
        noise: its noise multiplier; 0 for none.
        sampling: probability with which a contribution took part.
        unit: ``video`` or ``crop``: whose contribution the noise hides.
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
        """The release that this answer is for a unit; None without a bound.

        A video more or less changes a sum by at most 1. A changed crop changes its video's contribution, of norm at
        most 1, by at most 2: as if there were half the noise. A bound for crops is none for videos, which may have any
        number of crops.
        """
        if not self.noise or self.unit not in (unit, "video"):
            return None
        return Release(self.noise if self.unit == unit else self.noise / 2, self.sampling)


def epsilon(answers: Iterable[Answer], unit: str, more: Mapping[Release | None, int] | None = None) -> float:
    """Epsilon of these answers and further releases together for a unit, at :data:`DELTA`; infinity without a bound."""
    releases = Counter(answer.release(unit) for answer in answers)
    releases.update(more or {})
    if releases.pop(None, 0):
        return math.inf
    return epsilon_of_releases({one: times for one, times in releases.items() if one is not None}, DELTA)


class Account:
    """The file of one site.

    Args:
        file: ``account.jsonl``.
        past: gives the answers of earlier runs if there is no such file yet. Their videos are assumed to be those that
            the site has at its next answer.
        now: the clock.

    Raises:
        ClapError: a line is damaged. A line torn by a kill is skipped: its answer never left.
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
        """Read the lines that were appended since the last call."""
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
            data: the present videos; None for all answers.
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
        """Whether the same question got the same answer from the same data before."""
        return _identity(answer) in self._known

    def add(self, answer: Answer, data: Data) -> None:
        """Record an answer, and videos that take part for the first time; on return both survive a power loss.

        Call it within :meth:`held`.
        """
        if not self.file.exists():
            self._begin(data)
        if new := sorted(data.videos - self._first.keys()):
            self._append({"time": self._stamp(), "data": data.id, "videos": new})
        self._append(asdict(replace(answer, time=self._stamp())))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Lock the account against the site's other processes while the block runs; their additions are read first."""
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
                    f"{self.file}: a line is damaged ({line[:60].decode(errors='replace')}...); restore the file: "
                    "it is the only record of what this site has answered"
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
