"""The job submitted to FLARE: small files that name classes installed at every site. No code is sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...persistence import write_json

__all__ = ["write_job"]

_POLLING = 0.1  # seconds between a worker's requests for work


def write_job(
    folder: Path, name: str, controller: str, arguments: dict[str, Any], worker: str, sites: Sequence[str]
) -> None:
    """Write a job's folder.

    Args:
        folder: destination.
        name: shown in FLARE's lists.
        controller, worker: dotted paths of the classes at the coordinator and at the sites.
        arguments: arguments of the controller; they stay at the coordinator.
        sites: names of the sites that take part.
    """
    config = folder / "app" / "config"
    write_json(
        config / "config_fed_server.json",
        {
            "format_version": 2,
            "server": {"task_request_interval": _POLLING},
            "workflows": [{"id": "coordinator", "path": controller, "args": arguments}],
            "components": [],
        },
    )
    write_json(
        config / "config_fed_client.json",
        {
            "format_version": 2,
            "executors": [{"tasks": ["*"], "executor": {"path": worker, "args": {}}}],
            "components": [],
        },
    )
    write_json(
        folder / "meta.json",
        {
            "name": name,
            "resource_spec": {},
            "min_clients": 1,  # our coordinator decides how many replies a step needs
            "deploy_map": {"app": ["server", *sites]},
        },
    )
