"""Runs whose process is stopped after a few replies, and taken up anew."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from clap_vad.federation.ask import Ask, State
from clap_vad.workflows.federate import Federation


class StoppedError(Exception):
    """The process ended here."""


def stop_after(replies: int) -> Callable[[Ask, str], None]:
    """``on_reply`` that lets so many replies through; the last one's site has answered, its coordinator never hears."""
    seen = []

    def on_reply(ask: Ask, participant: str) -> None:
        seen.append(participant)
        if len(seen) == replies:
            raise StoppedError

    return on_reply


def run_with_stops(federation: Federation, replies: int, stops: int = 10_000) -> tuple[State, int]:
    """Run to the end; ``replies`` must be more than the participants, or it never gets on.

    Args:
        stops: so many at most, then undisturbed.

    Returns:
        The final state and how often it was stopped.
    """
    for stopped in range(stops):
        try:
            return federation.run(stop_after(replies)), stopped
        except StoppedError:
            continue
    return federation.run(), stops


def stopping_progress(replies: int) -> Callable[..., AbstractContextManager]:
    """In place of ``progress_bar``: stops ``train`` once so many replies of its rounds have come."""

    @contextlib.contextmanager
    def progress_bar(title: str, total: float | None) -> Iterator[Callable[..., None]]:
        seen = []

        def advance(steps: float = 1, note: str | None = None) -> None:
            seen.append(note)
            if len(seen) == replies:
                raise StoppedError

        yield advance

    return progress_bar
