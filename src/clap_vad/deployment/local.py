"""A federation on one machine for trials and tests: real processes and real mutual TLS, on loopback."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..datasets.dataset import Dataset, VideoRecord, write_videos_csv
from ..datasets.partition import ensure_participants
from ..errors import ClapError
from ..federation.policy import Policy
from ..trust.coordinator_home import CoordinatorHome
from ..trust.site_home import SiteHome
from .service_files import is_fresh, last_status

__all__ = ["LocalFederation", "local_federation"]

_JOBS = ("worker_process", "runner_process")  # FLARE's modules that a job runs in, at a site and at the coordinator
_STARTING = 180.0  # seconds within which three sites must be connected, even on a busy machine
_PORTS = range(20_000, 32_000)  # below the system's ephemeral ports, so that no connection takes one meanwhile
_GRACE = 15.0  # seconds between asking a service to end and ending it


class LocalFederation:
    """A coordinator, and a site for each participant of a dataset; each has its own folder and process.

    Args:
        dataset: its participants become sites. Each site's dataset links to the same features, and lists only its own
            training videos.
        out: receives the folders; existing ones are reused.
        protocol: partition of the videos among the sites.
        seed: of the protocol.
        host: name or address at which sites reach the coordinator.
        through: site -> prefix of its command, such as ``ip netns exec NAME``.
    """

    def __init__(
        self,
        dataset: Path,
        out: Path,
        protocol: str,
        seed: int = 0,
        host: str = "localhost",
        through: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        opened = Dataset(dataset)
        held = ensure_participants(opened, protocol, seed).videos
        self.out = out
        self.coordinator = out / "coordinator"
        self.sites = {name: out / "sites" / name for name in held}
        self._through = through or {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        if not self.coordinator.exists():
            self._make(opened, held, host)

    def start(self, names: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        """Start the services of these sites and of the coordinator (``""``), by default all.

        Args:
            environment: added to this process's own.
        """
        for name in ["", *self.sites] if names is None else names:
            what, home = ("coordinator", self.coordinator) if name == "" else ("site", self.sites[name])
            with (home / "service.out").open("ab") as output:
                self._processes[name] = subprocess.Popen(
                    [
                        *self._through.get(name, ()),
                        *(sys.executable, "-m", "clap_vad.cli", what, "start", "--home", str(home)),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    env={**os.environ, **(environment or {})},
                )

    def pid(self, name: str) -> int:
        """Process id of a site's service, or of the coordinator's (``""``)."""
        return self._processes[name].pid

    def processes(self, name: str) -> dict[str, int]:
        """Process ids of a site or of the coordinator (``""``): ``service``, ``flare``, and ``job`` during a job.

        ``flare`` is the FLARE process of this site or coordinator, ``job`` the process that computes the steps.
        """
        home = self.coordinator if name == "" else self.sites[name]
        kit = str((home / ("server" if name == "" else "client")).resolve())
        found = {"service": self.pid(name)} if name in self._processes else {}
        for process in psutil.process_iter(["cmdline", "pid"]):
            words = process.info["cmdline"] or []
            if kit in words and any("nvflare" in word for word in words):
                found["job" if any(word.endswith(_JOBS) for word in words) else "flare"] = process.info["pid"]
        return found

    def wait(self, timeout: float | None = None) -> float:
        """Wait until all sites are connected; returns the seconds, raises :class:`ClapError` at the timeout."""
        began, timeout = time.monotonic(), _STARTING * max(1.0, len(self.sites) / 3) if timeout is None else timeout
        while missing := [name for name in self.sites if not self._connected(name)]:
            for name, process in self._processes.items():
                if process.poll() is not None:
                    home = self.coordinator if name == "" else self.sites[name]
                    last = (home / "service.out").read_text(errors="replace").strip().splitlines()[-1:]
                    raise ClapError(f"{home}: its service ended with status {process.returncode} ({' '.join(last)})")
            if time.monotonic() - began > timeout:
                raise ClapError(f"{self.out}: {', '.join(missing)} not connected after {timeout:g} s")
            time.sleep(0.2)
        return time.monotonic() - began

    def stop(self) -> None:
        """End every process started by :meth:`start`, by its id; each ends its own child processes."""
        for process in self._processes.values():
            process.terminate()
        for name in list(self._processes):
            self.stop_site(name)

    def stop_site(self, name: str) -> None:
        """End the service of one site, or of the coordinator (``""``)."""
        process = self._processes.pop(name)
        process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        process.kill()
        process.wait()

    def _connected(self, name: str) -> bool:
        return is_fresh(last_status(self.coordinator)[1].get(name))

    def _make(self, dataset: Dataset, held: Mapping[str, Sequence[str]], host: str) -> None:
        port, admin_port = _free_ports()
        coordinator = CoordinatorHome.init(self.coordinator, "local", host, port, admin_port)
        for name, home in self.sites.items():
            own = self.out / "datasets" / name
            _make_dataset(own, dataset, held[name])
            request, bundle = self.out / f"{name}.request.json", self.out / f"{name}.bundle.json"
            site = SiteHome.request(home, name, "local", request)
            coordinator.approve(request, bundle)
            site.join(bundle, own)
            # All sites belong to one organisation here, so runs with one or two sites are allowed.
            Policy(minimum_cohort=1, maximum_rounds=1_000_000, allow_exact_sums=True).write(home / "policy.json")


@contextlib.contextmanager
def local_federation(
    dataset: Path, out: Path, protocol: str, seed: int = 0, tell: Callable[[str], Any] = lambda text: None
) -> Iterator[LocalFederation]:
    """A federation that runs during the ``with`` block."""
    federation = LocalFederation(dataset, out, protocol, seed)
    try:
        federation.start()
        seconds = federation.wait()
        tell(f"{len(federation.sites)} sites connected in {seconds:.1f} s")
        yield federation
    finally:
        federation.stop()


def _make_dataset(folder: Path, whole: Dataset, videos: Sequence[str]) -> None:
    """Create a dataset of these training videos that links to the features of the whole dataset."""
    folder.mkdir(parents=True)
    for store in whole.stores:
        (folder / store.path.name).symlink_to(store.path.resolve(), target_is_directory=True)
    records: list[VideoRecord] = [whole.videos[video] for video in videos]
    write_videos_csv(folder / "videos.csv", records)


def _free_ports() -> tuple[int, int]:
    found: list[int] = []
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            found.append(port)
        if len(found) == 2:
            break
    first, second = found
    return first, second
