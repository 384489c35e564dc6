"""What a federation does with a site that sends nonsense, with false papers, and with questions a site does not permit.

Real processes over real mutual TLS on loopback. A site's worker is turned by a ``sitecustomize`` that replaces what it
answers; papers are false because another authority signed them, because they are another site's, or because they have
expired.

    python benchmarks/federation_intruders.py DATASET OUT [--rounds R]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from clap_vad.deployment.local import LocalFederation, local_federation
from clap_vad.deployment.log import read_notes
from clap_vad.deployment.service_files import FRESH
from clap_vad.persistence import write_json
from clap_vad.trust.authority import Authority, issue_site, new_authority
from clap_vad.trust.coordinator_home import CoordinatorHome
from clap_vad.trust.identity import new_key, read_certificate, read_key, site_request, write_certificate, write_key
from federation_faults import SITES, Run

TURNED = """
import os, sys
if any("worker_process" in word for word in sys.orig_argv):
    import numpy as np
    from clap_vad.engines.flare import worker
    from clap_vad.federation.wire import encode
    honest = worker.FlareWorker.execute

    def execute(self, task_name, shareable, fl_ctx, abort_signal):
        out = honest(self, task_name, shareable, fl_ctx, abort_signal)
        if '"step": "train"' in shareable["question"]:
            from clap_vad.federation.wire import decode
            message = decode(out["payload"])
            kind = os.environ["TURNED"]
            name = "update.layer1.weight"
            if kind == "NaN":
                message[name] = np.full_like(message[name], np.nan)
            elif kind == "wrong shape":
                message[name] = message[name][:-1]
            elif kind == "unknown schema":
                message = {"videos": np.zeros(7), "faces": np.zeros(3)}
            out["payload"] = encode(message)
            if kind == "huge array":
                out["payload"] = encode({name: np.zeros(200_000_000 // 8)})
            elif kind == "array beyond FLARE's limit":
                out["payload"] = encode({name: np.zeros(400_000_000 // 8)})
            elif kind == "random bytes":
                out["payload"] = os.urandom(1000)
            elif kind == "no bytes at all":
                out["payload"] = {"a": [1, 2]}
        return out

    worker.FlareWorker.execute = execute
"""
KINDS = (
    *("NaN", "wrong shape", "unknown schema", "random bytes", "no bytes at all"),
    *("huge array", "array beyond FLARE's limit"),
)


def replies(federation: LocalFederation, dataset: Path, out: Path, kind: str, rounds: int) -> dict[str, Any]:
    """A run with two honest sites and one that sends this; two are enough."""
    folder = out / "turned"
    folder.mkdir(exist_ok=True)
    (folder / "sitecustomize.py").write_text(TURNED)
    federation.stop_site("site-2")
    federation.start(["site-2"], {"PYTHONPATH": str(folder), "TURNED": kind})
    time.sleep(FRESH + 1)  # so that it is the new process that is heard of
    federation.wait()
    began = time.monotonic()
    run = Run(federation, dataset, out / kind.replace(" ", "-").replace("'", ""), sites=SITES, rounds=rounds,
              min_sites=2, deadline=15)  # fmt: skip
    run.join(300)
    lines = run.rounds()
    return {
        "intruder": f"a site that sends {kind}",
        "ended": run.metrics is not None,
        "rounds_with_it": sum("site-2" in line["answered"] for line in lines),
        "rounds": len(lines),
        "longest_round_seconds": max(line["seconds"] for line in lines) if lines else None,
        "said": sorted({line["why"] for line in read_notes(run.out, ("reply refused",), 100)}) or str(run.error or ""),
        "seconds": round(time.monotonic() - began, 1),
    }


def forbidden(federation: LocalFederation, dataset: Path, out: Path) -> dict[str, Any]:
    """A run that needs all sites, one of whose policies forbids updates."""
    federation.stop_site("site-2")
    federation.start(["site-2"])
    time.sleep(FRESH + 1)  # so that it is the new process that is heard of
    federation.wait()
    policy = federation.sites["site-2"] / "policy.json"
    before = json.loads(policy.read_text())
    write_json(policy, {**before, "schemas": [name for name in before["schemas"] if name != "model_update"]})
    began = time.monotonic()
    run = Run(federation, dataset, out / "forbidden", sites=SITES, rounds=3, min_sites=3, deadline=15)
    run.join(120)
    write_json(policy, before)
    log = [json.loads(line) for line in (federation.sites["site-2"] / "log.jsonl").read_text().splitlines()]
    return {
        "intruder": "a coordinator that asks for what the policy forbids",
        "ended": run.metrics is not None,
        "said": str(run.error),
        "site_logged": [line for line in log if line["event"] == "refused"][-1:],
        "seconds": round(time.monotonic() - began, 1),
    }


def papers(federation: LocalFederation, out: Path, name: str, falsify: Callable[[Path], None]) -> dict[str, Any]:
    """``clap site start`` with false papers, in a copy of a site's home."""
    home = out / name.replace(" ", "-")
    shutil.copytree(
        federation.sites["site-3"], home, ignore=shutil.ignore_patterns("client", "runs", "*.out", "*.jsonl")
    )
    falsify(home)
    began = time.monotonic()
    words = [sys.executable, "-m", "clap_vad.cli", "site", "start", "--home", str(home)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    return {
        "intruder": name,
        "status": done.returncode,
        "said": done.stderr.strip().splitlines()[-1],
        "seconds": round(time.monotonic() - began, 1),
    }


def falsifiers(federation: LocalFederation) -> dict[str, Callable[[Path], None]]:
    home = CoordinatorHome.open(federation.coordinator)
    authority = Authority(read_certificate(home.authority_certificate), read_key(home.authority_key))
    foreign = new_authority(home.name)

    def issued(folder: Path, by: Authority) -> None:
        key = read_key(folder / "identity" / "client.key")
        request = site_request(key, "site-3", "local")
        write_certificate(folder / "identity" / "client.crt", issue_site(by, request, "site-3", "local"))

    def wrong_authority(folder: Path) -> None:
        issued(folder, foreign)

    def wrong_coordinator(folder: Path) -> None:
        issued(folder, foreign)
        write_certificate(folder / "identity" / "authority.crt", foreign.certificate)

    def of_another_site(folder: Path) -> None:
        shutil.copy(federation.sites["site-1"] / "identity" / "client.crt", folder / "identity" / "client.crt")
        shutil.copy(federation.sites["site-1"] / "identity" / "client.key", folder / "identity" / "client.key")

    def expired(folder: Path) -> None:
        valid = read_certificate(folder / "identity" / "client.crt")
        old = datetime.now(UTC) - timedelta(days=400)
        builder = x509.CertificateBuilder(
            valid.issuer, valid.subject, valid.public_key(), 1, old, old + timedelta(days=365), list(valid.extensions)
        )
        write_certificate(folder / "identity" / "client.crt", builder.sign(authority.key, hashes.SHA256()))

    def of_another_key(folder: Path) -> None:
        (folder / "identity" / "client.key").unlink()
        write_key(folder / "identity" / "client.key", new_key())

    return {
        "certificate by another authority": wrong_authority,
        "coordinator of another authority": wrong_coordinator,
        "certificate of another site": of_another_site,
        "expired certificate": expired,
        "certificate for another key": of_another_key,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kinds", default=";".join(KINDS), help="of what a turned site sends, semicolons between")
    given = parser.parse_args()
    with local_federation(given.dataset, given.out / "federation", "grouped-3", tell=print) as federation:
        for name, falsify in falsifiers(federation).items():
            print(json.dumps(papers(federation, given.out, name, falsify)), flush=True)
        print(json.dumps(forbidden(federation, given.dataset, given.out)), flush=True)
        for kind in filter(None, given.kinds.split(";")):
            print(json.dumps(replies(federation, given.dataset, given.out, kind, given.rounds)), flush=True)


if __name__ == "__main__":
    main()
