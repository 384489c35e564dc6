"""Writes FLARE's startup kits: mutual TLS only, no code from jobs, no shell, no log streaming."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path
from typing import Any

from ..persistence import write_json
from ..trust.authority import OPERATOR_NAME, SERVER_NAME
from ..trust.coordinator_home import CoordinatorHome
from ..trust.site_home import SiteHome

__all__ = ["CONTROLLER", "HEARTBEAT", "WORKER", "write_client_kit", "write_operator_kit", "write_server_kit"]

CONTROLLER = "clap_vad.deployment.flare_coordinator.Coordinator"
WORKER = "clap_vad.deployment.flare_worker.Worker"

HEARTBEAT = "heartbeat"
"""File in a client's kit that is touched at each answer of the coordinator."""

_ALLOWED = [CONTROLLER, WORKER]
"""The only classes that a job may name, at coordinator and sites."""

_JOBS_KEPT = 7 * 86400.0  # seconds
_LARGEST = 1 << 28  # bytes of one message; a model of 1 M weights has 4 MB

_NOBODY = dict.fromkeys(
    ("submit_job", "clone_job", "manage_job", "download_job", "view", "operate", "shell_commands", "byoc"), "none"
)
_AUTHORIZATION = {
    "format_version": "1.0",
    "permissions": {
        "project_admin": {
            **_NOBODY,
            "submit_job": "any",
            "manage_job": "any",
            "view": "any",
            "server-predeployed-flwr": "none",
        },
        **{role: {**_NOBODY, "server-predeployed-flwr": "none"} for role in ("org_admin", "lead", "member")},
    },
}
"""Rights of FLARE's administrators: the coordinator's operator starts and ends jobs; nothing else is allowed.
``byoc`` is FLARE's term for code that comes with a job."""


_LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "nvflare.fuel.utils.log_utils.JsonFormatter",
            "fmt": "%(asctime)s - %(name)s - %(fullName)s - %(levelname)s - %(fl_ctx)s - %(message)s",
        }
    },
    "handlers": {
        "file": {
            "class": "logging.handlers.RotatingFileHandler",
            "level": "DEBUG",
            "formatter": "json",
            "filename": "log.json",
            "mode": "a",
            "maxBytes": 10_000_000,
            "backupCount": 5,
        }
    },
    "loggers": {"root": {"level": "INFO", "handlers": ["file"]}},
}
"""FLARE's own log: JSON lines, at most 60 MB."""


def write_server_kit(home: CoordinatorHome, kit: Path) -> None:
    """Write the folder from which FLARE's server runs."""
    startup = _startup(kit, home.authority_certificate)
    shutil.copy(home.server_certificate, startup / "server.crt")
    _copy_key(home.server_key, startup / "server.key")
    write_json(
        startup / "fed_server.json",
        {
            "format_version": 2,
            "servers": [
                {
                    "name": home.name,
                    "service": {"target": f"{_listening(home.host)}:{home.port}", "scheme": "grpc"},
                    "admin_server": "localhost",
                    "admin_port": home.admin_port,
                    "ssl_private_key": "server.key",
                    "ssl_cert": "server.crt",
                    "ssl_root_cert": "rootCA.pem",
                    "connection_security": "mtls",
                }
            ],
        },
    )
    storage = "nvflare.app_common.storages.filesystem_storage.FilesystemStorage"
    persistor = "nvflare.app_common.state_persistors.storage_state_persistor.StorageStatePersistor"
    _write_local(
        kit,
        {
            "servers": [
                {"admin_storage": "transfer", "max_num_clients": 1000, "heart_beat_timeout": 60, "admin_timeout": 10.0}
            ],
            "snapshot_persistor": {
                "path": persistor,
                "args": {
                    "uri_root": "/",
                    "storage": {"path": storage, "args": {"root_dir": str(kit / "snapshots"), "uri_root": "/"}},
                },
            },
            "components": [
                _component("job_scheduler", "app_common.job_schedulers.job_scheduler.DefaultJobScheduler", max_jobs=4),
                _component(
                    "job_manager",
                    "apis.impl.job_def_manager.SimpleJobDefManager",
                    uri_root=str(kit / "jobs"),
                    job_store_id="job_store",
                ),
                _component("job_store", "app_common.storages.filesystem_storage.FilesystemStorage"),
                {"id": "gate", "path": "clap_vad.deployment.flare_gate.Gate", "args": {"home": str(home.path)}},
                _component(
                    "process_launcher", "app_common.job_launcher.server_process_launcher.ServerProcessJobLauncher"
                ),
            ],
        },
    )


def write_operator_kit(home: CoordinatorHome, kit: Path) -> None:
    """Write the folder from which the coordinator connects to its own server."""
    startup = _startup(kit, home.authority_certificate)
    shutil.copy(home.operator_certificate, startup / "client.crt")
    _copy_key(home.operator_key, startup / "client.key")
    admin = {
        "project_name": home.name,
        "username": OPERATOR_NAME,
        "server_identity": SERVER_NAME,
        "scheme": "grpc",
        "host": "localhost",
        "port": home.admin_port,
        "connection_security": "mtls",
        "uid_source": "user_input",
        "with_file_transfer": True,
        "upload_dir": "transfer",
        "download_dir": "transfer",
        "client_key": "client.key",
        "client_cert": "client.crt",
        "ca_cert": "rootCA.pem",
    }
    write_json(startup / "fed_admin.json", {"format_version": 1, "admin": admin})
    limits = {"idle_timeout": 0, "login_timeout": 10.0, "with_debug": False, "authenticate_msg_timeout": 2.0}
    write_json(kit / "local" / "resources.json", {"format_version": 1, "admin": {**limits, "prompt": "> "}})
    (kit / "transfer").mkdir(exist_ok=True)


def write_client_kit(home: SiteHome, kit: Path) -> None:
    """Write the folder from which FLARE's client runs at a site."""
    startup = _startup(kit, home.authority)
    shutil.copy(home.certificate, startup / "client.crt")
    _copy_key(home.key, startup / "client.key")
    write_json(
        startup / "fed_client.json",
        {
            "format_version": 2,
            "servers": [
                {
                    "name": home.federation,
                    "service": {"target": f"{home.host}:{home.port}", "scheme": "grpc"},
                    "identity": SERVER_NAME,
                }
            ],
            "client": {
                "ssl_private_key": "client.key",
                "ssl_cert": "client.crt",
                "ssl_root_cert": "rootCA.pem",
                "fqsn": home.name,
                "is_leaf": True,
                "connection_security": "mtls",
            },
        },
    )
    managers = "app_common.resource_managers.passthrough_resource_manager.PassthroughResourceManager"
    launcher = {"id": "process_launcher", "path": "clap_vad.engines.flare.launcher.RespawningLauncher", "args": {}}
    _write_local(
        kit,
        {
            "allow_log_streaming": False,
            "client": {"retry_timeout": 30, "compression": "Gzip"},
            "components": [
                _component("resource_manager", managers),
                _component(
                    "resource_consumer", "app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer"
                ),
                launcher,
                {
                    "id": "heartbeat",
                    "path": "clap_vad.engines.flare.heartbeat.Heartbeat",
                    "args": {"file": str(kit / HEARTBEAT)},
                },
            ],
        },
    )


def _listening(host: str) -> str:
    """The address on which the server listens: all, because the public name may be that of a router or proxy."""
    return host if host in ("localhost", "127.0.0.1") else "0.0.0.0"


def _startup(kit: Path, authority: Path) -> Path:
    _forget_jobs(kit)
    startup = kit / "startup"
    startup.mkdir(parents=True, exist_ok=True)
    shutil.copy(authority, startup / "rootCA.pem")
    return startup


def _forget_jobs(kit: Path) -> None:
    """Remove what FLARE keeps of jobs that ended long ago: what a run is stands in its own folder."""
    for folder in (*kit.glob("*-*-*-*-*"), *(kit / "jobs").glob("*-*-*-*-*")):
        with contextlib.suppress(FileNotFoundError):  # a process of FLARE that is just ending removes some itself
            if time.time() - folder.stat().st_mtime > _JOBS_KEPT:
                shutil.rmtree(folder, ignore_errors=True)


def _copy_key(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    target.write_bytes(source.read_bytes())


def _write_local(kit: Path, resources: dict[str, Any]) -> None:
    (kit / "transfer").mkdir(exist_ok=True)
    rules = {"format_version": 2, "class_list_enforcement_mode": "enforce", "class_allow_list": _ALLOWED}
    write_json(kit / "local" / "resources.json", {**rules, **resources})
    write_json(kit / "local" / "authorization.json", _AUTHORIZATION)
    write_json(kit / "local" / "log_config.json", _LOGGING)
    write_json(kit / "local" / "comm_config.json", {"allow_adhoc_conns": False, "streaming_max_blob_size": _LARGEST})


def _component(id: str, path: str, **arguments: Any) -> dict[str, Any]:
    return {"id": id, "path": f"nvflare.{path}", "args": arguments}
