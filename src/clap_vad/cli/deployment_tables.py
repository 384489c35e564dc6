"""Tables of coordinator and site for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

__all__ = ["coordinator_table", "forgotten_table", "site_table"]


def coordinator_table(found: dict[str, Any]) -> Group:
    """The result of :func:`~clap_vad.deployment.coordinator_status.coordinator_status`."""
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
    for run in found["runs"]:
        parts += _run_lines(run)
    for event in found["events"]:
        parts.append(f"{event['time'][:19]}  {event['event']}  {event.get('end') or ''} {event.get('why') or ''}")
    return _group(parts)


def forgotten_table(found: dict[str, Any], look: bool) -> Group:
    """The result of :func:`~clap_vad.deployment.forgetting.forget_site`."""
    site = found["site"]
    outcome = "nothing was changed" if look else "it is revoked and takes part in nothing any more"
    parts: list[RenderableType] = [f"site '{site}': {outcome}"]
    if found["runs"]:
        parts.append(f"runs that '{site}' was to take part in:")
        parts += [_trace_line(run, look) for run in found["runs"]]
        again = [run["run"] for run in found["runs"] if run["gave"] is not False or run["state"] != "finished"]
        parts += [f"without it: clap train --like {run} --without {site} --out RUN" for run in again]
    if found["missing"]:
        parts.append(f"not examined, because they were moved or cannot be read: {', '.join(found['missing'])}")
    parts.append("What cannot be undone:")
    parts += [f"- {sentence}" for sentence in found["not_recalled"]]
    return _group(parts)


def _trace_line(run: dict[str, Any], look: bool) -> str:
    protection = [word for word, there in (("masked", run["masked"]), ("noised", run["epsilon"])) if there]
    gave = f"{run['rounds']} rounds of training; {', '.join(protection) or 'no masks, no noise'}"
    holds = {
        True: f"holds its contribution ({gave})",
        False: "holds nothing of its videos",
        None: f"perhaps holds its contribution ({gave})",
    }[run["gave"]]
    facts = [run["state"], holds]
    if run["busy"]:
        facts.append("a job is running on it, nothing removed yet")
    elif run["removed"]:
        facts.append("checkpoints removed")
    facts.append(f"model {run['model_sha256'][:12]}" if run["model_sha256"] else "no model")
    return f"- {run['run']}: {', '.join(facts)}"


def site_table(found: dict[str, Any]) -> Group:
    """The result of :func:`~clap_vad.deployment.site_status.site_status`."""
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
    parts += _account_parts(found["account"])
    for event in found["problems"]:
        parts.append(f"{event['time'][:19]}  {event['event']}  {event.get('step') or ''} {event.get('why') or ''}")
    return _group(parts)


def _account_parts(account: dict[str, Any]) -> list[RenderableType]:
    """The answers and the privacy loss of all runs, and what the policy permits."""
    parts: list[RenderableType] = []
    spans = {"run": "most in a run", "year": "within 365 days", "ever": "over all runs"}
    if account["questions"]:
        asked = Table(title="answers that depend on the present videos: used of permitted")
        asked.add_column("schema")
        for title in spans.values():
            asked.add_column(title, justify="right")
        for row in account["questions"]:
            asked.add_row(row["schema"], *(_of(row["used"][span], row["permitted"][span]) for span in spans))
        parts.append(asked)
        spent = Table(title=f"privacy loss, epsilon at delta {account['delta']:g}: used of permitted")
        spent.add_column("of a")
        for title in spans.values():
            spent.add_column(title, justify="right")
        for row in account["spent"]:
            used = {span: "unbounded" if row["used"][span] is None else f"{row['used'][span]:.3g}" for span in spans}
            spent.add_row(row["unit"], *(_of(used[span], row["permitted"][span]) for span in spans))
        parts.append(spent)
        for row in account["spent"]:
            if row["unbounded"]:
                runs = ", ".join(row["unbounded"])
                parts.append(f"these runs have no bound on the privacy loss of a {row['unit']}: {runs}")
    return parts


def _of(used: object, permitted: float | None) -> str:
    return f"{used}" if permitted is None else f"{used} of {permitted:g}"


def _group(parts: list[RenderableType]) -> Group:
    """Lines as plain text: a path may hold what rich would read as markup."""
    return Group(*(Text(part) if isinstance(part, str) else part for part in parts))


def _run_lines(run: dict[str, Any]) -> list[str]:
    facts = [f"{run['state']}", f"round {run['round']} of {run['rounds']}"]
    facts += [f"loss {run['loss']:.4f}"] if run["loss"] is not None else []
    facts += [f"frame AUC {run['frame_auc']:.4f}"] if run["frame_auc"] is not None else []
    facts += [f"{run['seconds_per_round']:.1f} s a round"] if run["seconds_per_round"] is not None else []
    facts += [f"{run['bytes_up'] / 1e6:.1f} MB up, {run['bytes_down'] / 1e6:.1f} MB down"]
    lines = [f"run {run['run']} ({run['method']}): {', '.join(facts)}"]
    if run["why"]:
        lines.append(f"  {run['why']}")
    elif run["step"]:
        waiting = f", waiting for {', '.join(run['waiting'])}" if run["waiting"] else ""
        absent = f", without {', '.join(run['absent'])}" if run["absent"] else ""
        lines.append(f"  step '{run['step']}': {len(run['replied'])} replied{waiting}{absent}")
    return [
        *lines,
        *(f"  {line['time'][:19]}  {line['site']}, step '{line['step']}': {line['why']}" for line in run["refused"]),
    ]
