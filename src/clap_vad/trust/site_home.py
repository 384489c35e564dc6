"""A site's folder: its key, its certificate, its federation and its dataset.

HOME/
  site.json                  name and organisation; federation, host, port and dataset after joining
  identity/client.key        private key, created here, never leaves the site
  identity/client.crt        certificate from the coordinator, after joining
  identity/authority.crt     certificate of the trusted authority, after joining
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ClapError
from ..persistence import read_json, write_json
from .exchange import (
    SiteBundle,
    SiteRequest,
    check_bundle_signature,
    read_bundle,
    read_record,
    write_request,
)
from .identity import (
    check_certificate,
    common_name,
    fingerprint,
    new_key,
    parse_certificate,
    read_certificate,
    read_key,
    request_pem,
    site_request,
    write_certificate,
    write_key,
)
from .names import check_host, check_name, check_organisation, check_port, check_site_name

__all__ = ["SiteHome"]

_FORMAT = 1
_WHAT = "a site's settings, made by 'clap site request'"
_NAMED = {"name": str, "organisation": str}
_JOINED = {"federation": str, "host": str, "port": int, "dataset": str}


@dataclass(frozen=True)
class SiteHome:
    """The folder of one site in one federation: :meth:`request`, then :meth:`join`, then :meth:`open`."""

    path: Path

    @classmethod
    def request(cls, path: Path, name: str, organisation: str, out: Path | None = None) -> SiteHome:
        """Create the folder and the key, or keep existing ones, and write a request for the coordinator.

        Args:
            path: the folder; an existing one requests a renewal with the same key.
            name, organisation: of the site.
            out: destination of the request; by default ``NAME.request.json`` in the current folder.

        Raises:
            ClapError: the name or organisation is invalid, or the folder belongs to a site with another name.
        """
        check_site_name(name)
        organisation = check_organisation(organisation)
        home = cls(path)
        settings = home._read(_NAMED) if home._settings_file.exists() else {}
        if settings.get("name", name) != name:
            raise ClapError(
                f"{path}: this is the folder of site '{settings['name']}'; give another --home for '{name}'"
            )
        if home.key.exists():
            key = read_key(home.key)
        else:
            key = new_key()
            write_key(home.key, key)
        joined = home._read(_JOINED) if home._is_joined else {}
        write_json(home._settings_file, {"format": _FORMAT, "name": name, "organisation": organisation, **joined})
        pem = request_pem(site_request(key, name, organisation))
        write_request(out or Path(f"{name}.request.json"), SiteRequest(name, organisation, pem))
        return home

    def join(self, bundle_file: Path, dataset: Path) -> float:
        """Join with the coordinator's bundle; call it again after a renewal or for another dataset.

        Args:
            bundle_file: the coordinator's bundle for this site.
            dataset: the folder of this site's dataset.

        Returns:
            Days until the certificate expires.

        Raises:
            ClapError: there was no request; the bundle is damaged, not signed, changed after signing, for another site,
                for another key, or of another federation than before; or there is no dataset.
        """
        if not self._settings_file.exists():
            raise ClapError(f"{self.path}: not the folder of a site; start with 'clap site request'")
        named = self._read(_NAMED)
        bundle = read_bundle(bundle_file)
        if bundle.site != named["name"]:
            raise ClapError(
                f"{bundle_file}: made for site '{bundle.site}', but this is the folder of '{named['name']}'; "
                "give the --home of the request"
            )
        certificate = parse_certificate(bundle.certificate, f"{bundle_file}: certificate")
        authority = parse_certificate(bundle.authority, f"{bundle_file}: authority")
        if common_name(authority) != bundle.federation:
            raise ClapError(
                f"{bundle_file}: it is for federation '{bundle.federation}', but its authority is "
                f"'{common_name(authority)}'; have the coordinator send it again"
            )
        days_left = check_certificate(certificate, read_key(self.key), authority, bundle.site, str(bundle_file))
        self._check_same_federation(bundle_file, bundle, fingerprint(authority))
        check_bundle_signature(bundle_file, bundle)
        _check_dataset(dataset)
        write_certificate(self.authority, authority)
        write_certificate(self.certificate, certificate)
        joined = {
            "federation": bundle.federation,
            "host": bundle.host,
            "port": bundle.port,
            "dataset": str(dataset.absolute()),
        }
        write_json(
            self._settings_file, {"format": _FORMAT, **named, **joined}
        )  # written last: it marks the site as joined
        return days_left

    @classmethod
    def open(cls, path: Path) -> SiteHome:
        """The folder of a site that has joined; otherwise raises :class:`ClapError` with the next step."""
        home = cls(path)
        if not home._settings_file.exists():
            raise ClapError(f"{path}: not the folder of a site; start with 'clap site request'")
        if not home._is_joined:
            raise ClapError(
                f"{path}: site '{home._read(_NAMED)['name']}' has not joined yet; send its request to the coordinator, "
                "then run 'clap site join' with the bundle that you receive"
            )
        _ = home._settings
        return home

    @property
    def organisation(self) -> str:
        """The site's organisation; empty before the request."""
        return str(self._read(_NAMED)["organisation"]) if self._settings_file.exists() else ""

    @property
    def name(self) -> str:
        """Name of the site."""
        return str(self._settings["name"])

    @property
    def federation(self) -> str:
        """Name of the federation."""
        return str(self._settings["federation"])

    @property
    def host(self) -> str:
        """DNS name or IP address of the coordinator."""
        return str(self._settings["host"])

    @property
    def port(self) -> int:
        """Port of the coordinator's server."""
        return int(self._settings["port"])

    @property
    def dataset(self) -> Path:
        """Absolute path of the site's dataset."""
        return Path(self._settings["dataset"])

    @property
    def key(self) -> Path:
        """The site's private key."""
        return self.path / "identity" / "client.key"

    @property
    def certificate(self) -> Path:
        """The site's certificate."""
        return self.path / "identity" / "client.crt"

    @property
    def authority(self) -> Path:
        """Certificate of the federation's authority."""
        return self.path / "identity" / "authority.crt"

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the site's key; the coordinator compares it by phone before approval."""
        return fingerprint(read_key(self.key).public_key())

    def _check_same_federation(self, bundle_file: Path, bundle: SiteBundle, authority: str) -> None:
        if not self._is_joined:
            return
        if self._read(_JOINED)["federation"] != bundle.federation:
            raise ClapError(
                f"{bundle_file}: it is for federation '{bundle.federation}', but this site has joined "
                f"'{self._read(_JOINED)['federation']}'; make a new request with another --home"
            )
        if self.authority.exists() and fingerprint(read_certificate(self.authority)) != authority:
            raise ClapError(
                f"{bundle_file}: federation '{bundle.federation}' had another authority when this site joined; ask the "
                "coordinator, and if the authority is new, make a new request with another --home"
            )

    @property
    def _settings_file(self) -> Path:
        return self.path / "site.json"

    @property
    def _is_joined(self) -> bool:
        if not self._settings_file.exists():
            return False
        content = read_json(self._settings_file)
        return isinstance(content, dict) and "federation" in content

    def _read(self, shape: Mapping[str, type]) -> dict[str, Any]:
        return read_record(self._settings_file, _FORMAT, shape, _WHAT)

    @property
    def _settings(self) -> dict[str, Any]:
        settings = self._read({**_NAMED, **_JOINED})
        file = self._settings_file
        check_site_name(settings["name"], f"{file}: name")
        check_name(settings["federation"], f"{file}: federation")
        check_host(settings["host"], f"{file}: host")
        check_port(settings["port"], f"{file}: port")
        return settings


def _check_dataset(dataset: Path) -> None:
    if not dataset.is_dir():
        raise ClapError(f"{dataset}: no dataset found; create one with 'clap dataset prepare' or 'create'")
    if not (dataset / "videos.csv").is_file():
        raise ClapError(
            f"{dataset / 'videos.csv'}: missing, so {dataset} is not a dataset; give a folder created by 'clap dataset "
            "prepare' or 'create'"
        )
