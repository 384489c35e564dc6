"""Small files in a run's folder by which service, job and follower of the run communicate; one writer each.

RUN/
  deployment.json     by the coordinator's service: state of the run
  segment.json        by the current job: its step, replies, absent sites, and how it ended
  recall              by the service: the number of the job that has to end
  pause               by the follower of the run: stop after the current step
  forgotten.json      by 'clap coordinator forget': forgotten sites, without which the run cannot continue
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

_RELEASE = 20.0  # seconds in which the process of the previous job releases the folder


class RunFiles:
    """Access to these files."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def config(self) -> dict[str, Any]:
        """``config.json``, with only ``sites`` and ``min_sites`` checked, which a service needs.

        The job checks the rest: a service does not load the libraries needed for that.
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
        """Replace ``deployment.json``."""
        write_json(self.run / "deployment.json", content)

    def job_status(self) -> dict[str, Any]:
        """Status of the last job: ``number``, ``pid``, ``state`` and so on; empty before the first."""
        return self._read("segment.json")

    def write_job_status(self, **content: Any) -> None:
        """Replace the status of the last job."""
        write_json(self.run / "segment.json", content)

    def recall(self, number: int) -> None:
        """Ask a job to end."""
        write_text(self.run / "recall", str(number))

    def recalled(self, number: int) -> bool:
        """True if this job has to end."""
        try:
            return (self.run / "recall").read_text() == str(number)
        except FileNotFoundError:
            return False

    def pause(self, wanted: bool) -> None:
        """Ask the run to stop after the current step, or withdraw that."""
        if wanted:
            write_text(self.run / "pause", "")
        else:
            (self.run / "pause").unlink(missing_ok=True)

    @property
    def paused(self) -> bool:
        """True if a pause was asked for."""
        return (self.run / "pause").exists()

    def forgotten(self) -> list[str]:
        """Forgotten sites of the run."""
        return [str(name) for name in self._read("forgotten.json").get("sites", ())]

    def forget(self, site: str) -> None:
        """Record that a site was forgotten, so that the run cannot continue."""
        write_json(self.run / "forgotten.json", {"sites": list(dict.fromkeys((*self.forgotten(), site)))})

    def check_not_forgotten(self) -> None:
        """Raise :class:`ClapError` if a site of the run was forgotten."""
        if sites := self.forgotten():
            raise ClapError(
                f"{self.run}: site {', '.join(sites)} was forgotten, and its contributions were deleted; train again "
                f"with 'clap train --like {self.run} --without {','.join(sites)} --out RUN'"
            )

    def job_lives(self) -> bool:
        """True if the process of the last job runs and has not reported its end."""
        status = self.job_status()
        if status.get("state") != "running":
            return False
        with contextlib.suppress(OSError, ValueError):
            # a zombie has an empty command line
            return b"nvflare" in Path(f"/proc/{int(status['pid'])}/cmdline").read_bytes()
        return False

    def _read(self, name: str) -> dict[str, Any]:
        if not (self.run / name).exists():  # checked first: another process may write it at any moment
            return {}
        content = read_json(self.run / name)
        if not isinstance(content, dict):
            raise ClapError(f"{self.run / name}: was not written by a coordinator; delete it")
        return content


@contextlib.contextmanager
def locked_soon(run: Path) -> Iterator[None]:
    """Lock the run's folder; waits for the process of the previous job to release it."""
    with contextlib.ExitStack() as stack:
        until = time.monotonic() + _RELEASE
        while True:
            try:
                stack.enter_context(locked_folder(run))
                break
            except ClapError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)
        yield
