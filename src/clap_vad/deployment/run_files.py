"""What coordinator, FLARE's job and follower tell each other of a run: small files in its folder, one writer each.

RUN/
  deployment.json     by the coordinator's service: where the run stands
  segment.json        by the job at work on it: which step, who replied, who is absent, how it ended
  recall              by the service: the number of the job that is to end
  pause               by whoever follows the run: it is to stop after the present step
  forgotten.json      by 'clap coordinator forget': sites whose part in the run was removed, so that it cannot go on
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..persistence import locked_folder, read_json, write_json, write_text

__all__ = ["ENDED", "RunFiles", "locked_soon"]

ENDED = ("finished", "failed", "paused")
"""States in which the service does nothing for a run."""

_LETTING_GO = 20.0  # seconds


class RunFiles:
    """Access to these files."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def config(self) -> dict[str, Any]:
        """``config.json``, unchecked but for what a service needs of it: ``sites`` and ``min_sites``.

        A service does without the libraries that a whole configuration needs to be checked; the job checks it.
        """
        content = self._read("config.json")
        sites, least = content.get("sites"), content.get("min_sites")
        if not isinstance(sites, list) or not sites or type(least) is not int:
            raise ClapError(f"{self.run / 'config.json'}: not the configuration of a run over sites")
        return content

    def deployment(self) -> dict[str, Any]:
        """``id``, ``state``, ``why``, ``segments`` (jobs so far); empty before the service has seen the run."""
        return self._read("deployment.json")

    def write_deployment(self, **content: Any) -> None:
        """Replace it."""
        write_json(self.run / "deployment.json", content)

    def segment(self) -> dict[str, Any]:
        """Of the last job: ``number``, ``pid``, ``state`` and so on; empty before the first."""
        return self._read("segment.json")

    def write_segment(self, **content: Any) -> None:
        """Replace it."""
        write_json(self.run / "segment.json", content)

    def recall(self, number: int) -> None:
        """Ask a job to end."""
        write_text(self.run / "recall", str(number))

    def recalled(self, number: int) -> bool:
        """Whether this job is to end."""
        try:
            return (self.run / "recall").read_text() == str(number)
        except FileNotFoundError:
            return False

    def pause(self, wanted: bool) -> None:
        """Ask for the run to stop after the present step, or no longer."""
        if wanted:
            write_text(self.run / "pause", "")
        else:
            (self.run / "pause").unlink(missing_ok=True)

    @property
    def paused(self) -> bool:
        """Whether that was asked for."""
        return (self.run / "pause").exists()

    def forgotten(self) -> list[str]:
        """Sites that were forgotten."""
        return [str(name) for name in self._read("forgotten.json").get("sites", ())]

    def forget(self, site: str) -> None:
        """Note that a site was forgotten: nobody goes on with the run."""
        write_json(self.run / "forgotten.json", {"sites": list(dict.fromkeys((*self.forgotten(), site)))})

    def check_not_forgotten(self) -> None:
        """Raise :class:`ClapError` where a site of the run was forgotten."""
        if sites := self.forgotten():
            raise ClapError(
                f"{self.run}: site {', '.join(sites)} was forgotten, and what the run held of it is gone; train anew "
                f"with 'clap train --like {self.run} --without {','.join(sites)} --out RUN'"
            )

    def job_lives(self) -> bool:
        """Whether the process of the last job is there and has not said that it ended."""
        segment = self.segment()
        if segment.get("state") != "running":
            return False
        with contextlib.suppress(OSError, ValueError):
            # a zombie has an empty command line
            return b"nvflare" in Path(f"/proc/{int(segment['pid'])}/cmdline").read_bytes()
        return False

    def _read(self, name: str) -> dict[str, Any]:
        if not (self.run / name).exists():  # asked first: another process may write it at any moment
            return {}
        content = read_json(self.run / name)
        if not isinstance(content, dict):
            raise ClapError(f"{self.run / name}: not what a coordinator writes there; delete it")
        return content


@contextlib.contextmanager
def locked_soon(run: Path) -> Iterator[None]:
    """Hold the run's folder, which the process of the job before may still be letting go of."""
    with contextlib.ExitStack() as stack:
        until = time.monotonic() + _LETTING_GO
        while True:
            try:
                stack.enter_context(locked_folder(run))
                break
            except ClapError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield
