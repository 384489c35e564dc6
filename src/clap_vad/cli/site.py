"""``clap site request | join | start | status``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..deployment.joining import join_site, request_site
from ..deployment.signals import until_stopped
from ..deployment.site_service import SiteService
from ..deployment.site_status import site_status
from ..trust.site_home import SiteHome
from .command import Output, command, say
from .deployment_tables import site_table

__all__ = ["join", "request", "start", "status"]

_PATH = click.Path(path_type=Path)
_home_option = click.option(
    "--home",
    type=_PATH,
    default="clap-site",
    show_default=True,
    help="Folder of this site. Its private key never leaves it.",
)


@command("request", help="Ask to join a federation: make this site's key and a small file to send.")
@_home_option
@click.option("--name", required=True, help="Name of the site: letters, digits, hyphens.")
@click.option("--organisation", default="", help="Organisation of the site. [default: as before, else the site's name]")
@click.option("--out", type=_PATH, help="File to send to the coordinator. [default: NAME.request.json]")
def request(home: Path, name: str, organisation: str, out: Path | None) -> Output:
    """Parse, call, print."""
    file, fingerprint = request_site(home, name, organisation, out)
    text = f"send {file} to the coordinator, and compare this site's key by telephone:\n{fingerprint}"
    return Output({"site": name, "request": str(file), "fingerprint": fingerprint}, text)


@command("join", help="Join with the coordinator's BUNDLE and this site's dataset.")
@click.argument("bundle", type=_PATH)
@click.option(
    "--dataset", type=_PATH, required=True, help="Dataset of this site. Its training videos are used for training."
)
@_home_option
def join(bundle: Path, dataset: Path, home: Path) -> Output:
    """Parse, call, print."""
    found = join_site(home, bundle, dataset)
    text = (
        f"site '{found['site']}' has joined '{found['federation']}' at {found['host']}:{found['port']}; what may "
        f"leave it: {found['policy']}\nthe federation's authority, to compare with the coordinator by telephone:\n"
        f"{found['authority_fingerprint']}\nstart it with 'clap site start --home {home}'"
    )
    return Output(found, text)


@command("start", help="Take part in the federation's runs until Ctrl-C.")
@_home_option
def start(home: Path) -> Output:
    """Parse, call, print."""
    with until_stopped() as stopped:
        SiteService(SiteHome.open(home), partial(say, sign="")).serve(stopped)
    return Output({"home": str(home), "stopped": True}, "stopped")


@command("status", help="Show whether the site is connected, what it refused and what has left it.")
@_home_option
def status(home: Path) -> Output:
    """Parse, call, print."""
    found = site_status(SiteHome.open(home))
    return Output(found, site_table(found))
