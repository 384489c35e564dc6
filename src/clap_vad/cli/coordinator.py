"""``clap coordinator init | approve | revoke | forget | start | status``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..deployment.coordinator_service import CoordinatorService
from ..deployment.coordinator_status import coordinator_status
from ..deployment.forgetting import forget_site
from ..deployment.signals import until_stopped
from ..trust.coordinator_home import CoordinatorHome
from .command import Output, command, say
from .deployment_tables import coordinator_table, forgotten_table

__all__ = ["approve", "forget", "init", "revoke", "start", "status"]

_PATH = click.Path(path_type=Path)
home_option = click.option(
    "--home", type=_PATH, default="clap-coordinator", show_default=True, help="Folder of the coordinator."
)


@command("init", help="Make a federation: a folder, a certificate authority and a server certificate.")
@home_option
@click.option("--name", required=True, help="Name of the federation: letters, digits, hyphens.")
@click.option("--host", required=True, help="DNS name or address at which sites reach this machine.")
@click.option("--port", type=int, default=8002, show_default=True, help="Port for sites. Open it in the firewall.")
@click.option(
    "--admin-port", type=int, default=8003, show_default=True, help="Administration port, for this machine only."
)
@click.option("--days", type=int, default=3650, show_default=True, help="Days until the certificate authority expires.")
def init(home: Path, name: str, host: str, port: int, admin_port: int, days: int) -> Output:
    """Parse, call, print."""
    made = CoordinatorHome.init(home, name, host, port, admin_port, days)
    text = (
        f"federation '{name}' in {made.path}; start it with 'clap coordinator start --home {home}'\n"
        f"its authority, to compare with every site by telephone:\n{made.fingerprint}"
    )
    facts = {"home": str(made.path), "name": name, "host": made.host, "port": port, "fingerprint": made.fingerprint}
    return Output(facts, text)


@command("approve", help="Approve a site. REQUEST is the file that 'clap site request' made there.")
@click.argument("request", type=_PATH)
@home_option
@click.option("--out", type=_PATH, help="Bundle to send back. [default: SITE.bundle.json]")
@click.option("--days", type=int, default=365, show_default=True, help="Days until the site's certificate expires.")
@click.option("--replace", is_flag=True, help="Accept a new key of a site that was approved before.")
def approve(request: Path, home: Path, out: Path | None, days: int, replace: bool) -> Output:
    """Parse, call, print."""
    site = CoordinatorHome.open(home).approve(request, out, days, replace)
    bundle = str(out or Path(f"{site.name}.bundle.json"))
    text = (
        f"approved '{site.name}' ({site.organisation}) until {site.expires}; send {bundle} back\n"
        f"its key, to compare with the site's operator by telephone:\n{site.fingerprint}"
    )
    return Output({"site": site.name, "bundle": bundle, "fingerprint": site.fingerprint, "expires": site.expires}, text)


@command("revoke", help="Revoke a site: it takes part in nothing any more.")
@click.argument("site")
@home_option
def revoke(site: str, home: Path) -> Output:
    """Parse, call, print."""
    CoordinatorHome.open(home).revoke(site)
    return Output({"site": site, "revoked": True}, f"revoked '{site}'")


@command(
    "forget", help="Forget a site: list the runs that hold its contributions, remove what can be removed, revoke it."
)
@click.argument("site")
@home_option
@click.option("--look", is_flag=True, help="List only; change nothing.")
def forget(site: str, home: Path, look: bool) -> Output:
    """Parse, call, print."""
    found = forget_site(CoordinatorHome.open(home), site, look)
    busy = [run["run"] for run in found["runs"] if run["busy"]]
    warning = f"a job is still running on {', '.join(busy)}; repeat the command in a minute" if busy else None
    return Output(found, forgotten_table(found, look), warning)


@command("start", help="Run the coordinator's service until Ctrl-C: FLARE's server and all requested runs.")
@home_option
def start(home: Path) -> Output:
    """Parse, call, print."""
    with until_stopped() as stopped:
        CoordinatorService(CoordinatorHome.open(home), partial(say, sign="")).serve(stopped)
    return Output({"home": str(home), "stopped": True}, "stopped; runs go on when it is started again")


@command("status", help="Show the coordinator's sites and runs.")
@home_option
def status(home: Path) -> Output:
    """Parse, call, print."""
    found = coordinator_status(CoordinatorHome.open(home))
    return Output(found, coordinator_table(found))
