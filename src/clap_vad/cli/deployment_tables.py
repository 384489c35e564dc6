"""Coordinator and site as a person reads them in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table

__all__ = ["coordinator_table", "site_table"]


def coordinator_table(found: dict[str, Any]) -> Group:
    """What :func:`~clap_vad.deployment.coordinator_status.coordinator_status` says."""
    state = "running" if found["running"] else "not running; start it with 'clap coordinator start'"
    parts: list[RenderableType] = [f"federation '{found['federation']}' at {found['address']}: {state}"]
    sites = Table(title="sites")
    for column in ("site", "organisation", "state", "last seen", "certificate until"):
        sites.add_column(column)
    for site in found["sites"]:
        state = "revoked" if site["revoked"] else "connected" if site["connected"] else "away"
        seen = "never" if site["seen_seconds_ago"] is None else f"{site['seen_seconds_ago']:.0f} s ago"
        sites.add_row(site["name"], site["organisation"], state, seen, site["expires"][:10])
    parts.append(sites)
    if found["runs"]:
        runs = Table(title="runs")
        for column in ("run", "state", "round", "loss", "AUC", "s/round", "MB up", "MB down", "now"):
            runs.add_column(column)
        for run in found["runs"]:
            runs.add_row(
                run["run"],
                run["state"],
                f"{run['round']}/{run['rounds']}",
                _number(run["loss"], 4),
                _number(run["frame_auc"], 4),
                _number(run["seconds_per_round"], 1),
                f"{run['bytes_up'] / 1e6:.1f}",
                f"{run['bytes_down'] / 1e6:.1f}",
                _now(run),
            )
        parts.append(runs)
    for run in found["runs"]:
        for line in run["refused"]:
            parts.append(f"{line['time'][:19]}  {line['site']}, step '{line['step']}': {line['why']}")
    for event in found["events"]:
        parts.append(f"{event['time'][:19]}  {event['event']}  {event.get('end') or ''} {event.get('why') or ''}")
    return Group(*parts)


def site_table(found: dict[str, Any]) -> Group:
    """What :func:`~clap_vad.deployment.site_status.site_status` says."""
    days = found["certificate_days_left"]
    certificate = found["certificate_problem"] or f"certificate valid for {days:.0f} days"
    policy = found["policy"]
    parts: list[RenderableType] = [
        f"site '{found['site']}' of '{found['federation']}' at {found['coordinator']}: {found['state']} {found['why']}",
        certificate,
        f"dataset {found['dataset']}",
        f"policy {policy['file']}: {len(policy['schemas'])} kinds of message, {policy['minimum_cohort']} sites at "
        f"least, {policy['maximum_rounds']} rounds at most",
    ]
    if found["sent"]:
        sent = Table(title="what has left this site")
        for column in ("run", "schema", "messages", "bytes", "last"):
            sent.add_column(column, justify="right" if column in ("messages", "bytes") else "left")
        for row in found["sent"]:
            sent.add_row(row["run"], row["schema"], str(row["messages"]), f"{row['bytes']:,}", row["last"])
        parts.append(sent)
    for event in found["problems"]:
        parts.append(f"{event['time'][:19]}  {event['event']}  {event.get('step') or ''} {event.get('why') or ''}")
    return Group(*parts)


def _now(run: dict[str, Any]) -> str:
    if run["why"]:
        return str(run["why"])
    parts = [f"step '{run['step']}'"] if run["step"] else []
    parts += [f"waiting for {', '.join(run['waiting'])}"] if run["waiting"] else []
    parts += [f"without {', '.join(run['absent'])}"] if run["absent"] else []
    return ", ".join(parts)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
