"""A coordinator's folder: the federation's authority, the server's identity, and the approved sites.

HOME/
  coordinator.json           name of the federation, host and ports
  authority/                 authority.crt, authority.key: signs every site's certificate; back it up, keep it secret
  identity/                  server.crt, server.key, admin.crt, admin.key: FLARE's server and its administrator
  sites/NAME.json            an approved site, and whether it was revoked
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..persistence import write_json
from .authority import Authority, issue_operator, issue_server, issue_site, new_authority
from .exchange import SiteBundle, read_record, read_request, sign_bundle, write_bundle
from .identity import (
    certificate_pem,
    fingerprint,
    new_key,
    parse_request,
    read_certificate,
    read_key,
    write_certificate,
    write_key,
)
from .names import check_host, check_name, check_port, check_site_name

__all__ = ["ApprovedSite", "CoordinatorHome"]

_FORMAT = 1
_LOCAL = (
    "localhost",
    "127.0.0.1",
)  # for the administrator's connection, if the host's name does not lead back to this machine


@dataclass(frozen=True)
class ApprovedSite:
    """A site that the coordinator approved.

    Attributes:
        name, organisation: of the site.
        approved, expires: start and end of its certificate, ISO 8601, UTC.
        fingerprint: of its public key.
        revoked: True if it was revoked; it then receives no more questions.
    """

    name: str
    organisation: str
    approved: str
    expires: str
    fingerprint: str
    revoked: bool


@dataclass(frozen=True)
class CoordinatorHome:
    """The folder of one federation's coordinator, created by :meth:`init` and opened by :meth:`open`."""

    path: Path

    @classmethod
    def init(cls, path: Path, name: str, host: str, port: int, admin_port: int, days: int = 3650) -> CoordinatorHome:
        """Create a federation: its authority, and the identities of its server and its administrator.

        The identities are valid as long as the authority, because their keys are stored with its key.

        Args:
            path: a folder that is empty or does not exist.
            name: name of the federation.
            host: DNS name or IP address under which sites reach this machine.
            port, admin_port: ports of FLARE's server for sites and for its administrator.
            days: validity of the authority.

        Raises:
            ClapError: the folder is in use, or a name, host, port or ``days`` is invalid.
        """
        check_name(name, "federation name")
        host = check_host(host)
        _check_ports(port, admin_port, "ports")
        home = cls(path)
        if home._settings_file.exists():
            raise ClapError(f"{path}: already the folder of a coordinator; give another folder for another federation")
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise ClapError(f"{path}: not an empty folder; give a new one")
        authority = new_authority(name, days)
        server, operator = new_key(), new_key()
        hosts = list(dict.fromkeys((host, *_LOCAL)))
        write_key(home.authority_key, authority.key)
        write_certificate(home.authority_certificate, authority.certificate)
        write_key(home.server_key, server)
        write_certificate(home.server_certificate, issue_server(authority, server.public_key(), hosts, days))
        write_key(home.operator_key, operator)
        write_certificate(home.operator_certificate, issue_operator(authority, operator.public_key(), days))
        # written last, so that a folder with this file is complete
        settings = {"name": name, "host": host, "port": port, "admin_port": admin_port}
        write_json(home._settings_file, {"format": _FORMAT, **settings})
        return home

    @classmethod
    def open(cls, path: Path) -> CoordinatorHome:
        """The coordinator's folder at ``path``; raises :class:`ClapError` if it is missing, damaged or incomplete."""
        home = cls(path)
        if not home._settings_file.exists():
            raise ClapError(f"{path}: not the folder of a coordinator; create one with 'clap coordinator init'")
        _ = home._settings
        for file in (
            *(home.authority_certificate, home.authority_key, home.server_certificate),
            *(home.server_key, home.operator_certificate, home.operator_key),
        ):
            if not file.exists():
                raise ClapError(f"{file}: missing in the coordinator's folder; restore it from your backup")
        return home

    @property
    def name(self) -> str:
        """Name of the federation."""
        return str(self._settings["name"])

    @property
    def host(self) -> str:
        """DNS name or IP address under which sites reach this machine."""
        return str(self._settings["host"])

    @property
    def port(self) -> int:
        """Port of FLARE's server for sites."""
        return int(self._settings["port"])

    @property
    def admin_port(self) -> int:
        """Port of FLARE's server for its administrator."""
        return int(self._settings["admin_port"])

    @property
    def authority_certificate(self) -> Path:
        """Certificate of the authority, which every site trusts."""
        return self.path / "authority" / "authority.crt"

    @property
    def authority_key(self) -> Path:
        """Key of the authority."""
        return self.path / "authority" / "authority.key"

    @property
    def server_certificate(self) -> Path:
        """Certificate of FLARE's server."""
        return self.path / "identity" / "server.crt"

    @property
    def server_key(self) -> Path:
        """Key of FLARE's server."""
        return self.path / "identity" / "server.key"

    @property
    def operator_certificate(self) -> Path:
        """Certificate of FLARE's administrator."""
        return self.path / "identity" / "admin.crt"

    @property
    def operator_key(self) -> Path:
        """Key of FLARE's administrator."""
        return self.path / "identity" / "admin.key"

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the authority's key; a site compares it by phone before it joins."""
        return fingerprint(read_certificate(self.authority_certificate))

    def sites(self) -> list[ApprovedSite]:
        """All sites ever approved, revoked ones included, sorted by name."""
        return [_read_site(file) for file in sorted((self.path / "sites").glob("*.json"))]

    def approve(
        self, request_file: Path, out: Path | None = None, days: int = 365, allow_replace: bool = False
    ) -> ApprovedSite:
        """Approve a site or renew its certificate: sign its request, record it, write the bundle to send back.

        Args:
            request_file: the site's request.
            out: destination of the bundle; by default ``NAME.bundle.json`` in the current folder.
            days: validity of the certificate, at most until the authority expires.
            allow_replace: accept another key for an approved name, or a revoked name.

        Raises:
            ClapError: the request is damaged or altered; its name is approved with another key or was revoked, and
                ``allow_replace`` is not set; or another site has the same key.
        """
        asked = read_request(request_file)
        request = parse_request(asked.certificate_request, asked.site, asked.organisation, str(request_file))
        self._check_newcomer(request_file, asked.site, fingerprint(request), allow_replace)
        authority = Authority(read_certificate(self.authority_certificate), read_key(self.authority_key))
        now = datetime.now(UTC)
        certificate = issue_site(authority, request, asked.site, asked.organisation, days, now)
        site = ApprovedSite(
            asked.site,
            asked.organisation,
            now.isoformat(timespec="seconds"),
            certificate.not_valid_after_utc.isoformat(timespec="seconds"),
            fingerprint(certificate),
            revoked=False,
        )
        # recorded before it is handed out, so that this folder knows every certificate
        self._write_site(site)
        bundle = SiteBundle(
            federation=self.name,
            site=site.name,
            host=self.host,
            port=self.port,
            certificate=certificate_pem(certificate),
            authority=certificate_pem(authority.certificate),
        )
        write_bundle(out or Path(f"{site.name}.bundle.json"), sign_bundle(bundle, authority))
        return site

    def revoke(self, name: str) -> ApprovedSite:
        """Revoke a site: it receives no more questions; raises :class:`ClapError` for an unknown name."""
        known = {site.name: site for site in self.sites()}
        if name not in known:
            raise ClapError(f"{self.path}: no site '{name}' was approved; approved: {', '.join(known) or 'none'}")
        site = replace(known[name], revoked=True)
        self._write_site(site)
        return site

    def _check_newcomer(self, request_file: Path, name: str, key: str, allow_replace: bool) -> None:
        for site in self.sites():
            if site.name != name and site.fingerprint == key:
                raise ClapError(
                    f"{request_file}: its key is that of site '{site.name}'; every site needs its own key: run 'clap "
                    "site request' with another --home"
                )
            if site.name == name and not allow_replace and site.revoked:
                raise ClapError(f"{request_file}: site '{name}' was revoked; to approve it again, add --replace")
            if site.name == name and not allow_replace and site.fingerprint != key:
                raise ClapError(
                    f"{request_file}: site '{name}' is approved with another key; ask the site whether it created a "
                    "new one; if so, add --replace"
                )

    def _write_site(self, site: ApprovedSite) -> None:
        write_json(self.path / "sites" / f"{site.name}.json", {"format": _FORMAT, **asdict(site)})

    @property
    def _settings_file(self) -> Path:
        return self.path / "coordinator.json"

    @property
    def _settings(self) -> dict[str, Any]:
        file = self._settings_file
        shape = {"name": str, "host": str, "port": int, "admin_port": int}
        settings = read_record(file, _FORMAT, shape, "a coordinator's settings, made by 'clap coordinator init'")
        check_name(settings["name"], f"{file}: name")
        check_host(settings["host"], f"{file}: host")
        _check_ports(settings["port"], settings["admin_port"], f"{file}: ports")
        return settings


def _check_ports(port: int, admin_port: int, where: str) -> None:
    check_port(port, where)
    check_port(admin_port, where)
    if port == admin_port:
        raise ClapError(f"{where}: sites and the administrator cannot share port {port}; give two different ports")


def _read_site(file: Path) -> ApprovedSite:
    strings = dict.fromkeys(("name", "organisation", "approved", "expires", "fingerprint"), str)
    what = "the record of a site, made by 'clap coordinator approve'"
    site = ApprovedSite(**read_record(file, _FORMAT, {**strings, "revoked": bool}, what))
    check_site_name(site.name, f"{file}: name")
    if site.name != file.stem:
        raise ClapError(f"{file}: this is the record of site '{site.name}'; rename the file to {site.name}.json")
    return site
