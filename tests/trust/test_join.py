from __future__ import annotations

import json
import shutil
import stat
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from clap_vad.errors import ClapError
from clap_vad.trust import coordinator_home, site_home
from clap_vad.trust.coordinator_home import ApprovedSite, CoordinatorHome
from clap_vad.trust.exchange import SiteBundle, SiteRequest, read_bundle, read_request, write_bundle, write_request
from clap_vad.trust.identity import check_identity, fingerprint, new_key, read_certificate
from clap_vad.trust.site_home import SiteHome


@pytest.fixture(scope="module")
def made() -> list[rsa.RSAPrivateKey]:
    return [new_key() for _ in range(3)]


@pytest.fixture(autouse=True)
def quick_keys(made: list[rsa.RSAPrivateKey], monkeypatch: pytest.MonkeyPatch) -> None:
    """Sites take ready keys by turns, servers all the same one; authorities, whose keys decide, make their own.

    Reading one leaves out the test of its primes, which takes a tenth of a second.
    """
    load = partial(serialization.load_pem_private_key, unsafe_skip_rsa_key_validation=True)
    monkeypatch.setattr(serialization, "load_pem_private_key", load)
    turns = iter(made * 10)
    monkeypatch.setattr(site_home, "new_key", lambda: next(turns))
    monkeypatch.setattr(coordinator_home, "new_key", lambda: made[-1])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a dataset in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "videos.csv").write_text("video,split\n")
    return tmp_path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "coordinator"
    return CoordinatorHome.init(path, "cameras", "Gate.example.org", 8002, 8003).path


@pytest.fixture
def home(template: Path, place: Path) -> CoordinatorHome:
    shutil.copytree(template, place / "coordinator")
    return CoordinatorHome.open(place / "coordinator")


def joined(home: CoordinatorHome, path: Path, name: str = "north") -> SiteHome:
    SiteHome.request(path, name, "Town")
    home.approve(Path(f"{name}.request.json"))
    SiteHome(path).join(Path(f"{name}.bundle.json"), Path("dataset"))
    return SiteHome.open(path)


def edit(file: Path, **changes: Any) -> None:
    content = {**json.loads(file.read_text()), **changes}
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def mode(file: Path) -> int:
    return stat.S_IMODE(file.stat().st_mode)


def test_a_coordinators_home_says_what_it_was_made_with(home: CoordinatorHome, place: Path) -> None:
    opened = CoordinatorHome.open(home.path)
    assert (opened.name, opened.host, opened.port, opened.admin_port) == ("cameras", "gate.example.org", 8002, 8003)
    assert json.loads((home.path / "coordinator.json").read_text()) == {
        **{"format": 1, "name": "cameras", "host": "gate.example.org", "port": 8002, "admin_port": 8003}
    }
    names = ("authority/authority", "identity/server", "identity/admin")
    assert all((home.path / f"{name}.crt").exists() and mode(home.path / f"{name}.key") == 0o600 for name in names)
    assert opened.sites() == []
    assert opened.fingerprint == fingerprint(read_certificate(home.path / "authority" / "authority.crt"))


def test_server_and_operator_are_certified_as_long_as_the_authority(home: CoordinatorHome) -> None:
    server = home.server_certificate, home.server_key, home.authority_certificate, "coordinator"
    operator = home.operator_certificate, home.operator_key, home.authority_certificate, "operator@coordinator"
    assert [check_identity(*server), check_identity(*operator)] == pytest.approx([3650, 3650], abs=0.1)
    names = read_certificate(home.server_certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["gate.example.org", "localhost"]
    assert [str(a) for a in names.value.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]


def test_a_home_is_never_made_over_something_else(home: CoordinatorHome, place: Path) -> None:
    arguments = ("cameras", "gate.example.org", 8002, 8003)
    with pytest.raises(ClapError, match="a coordinator's home already"):
        CoordinatorHome.init(home.path, *arguments)
    for used in (place / "dataset", place / "dataset" / "videos.csv"):
        with pytest.raises(ClapError, match="not an empty folder"):
            CoordinatorHome.init(used, *arguments)
    (place / "empty").mkdir()
    assert CoordinatorHome.init(place / "empty", *arguments).name == "cameras"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "Cameras"}, "federation name: 'Cameras' cannot be used"),
        ({"name": "server"}, "federation name: 'server' is reserved"),
        ({"host": "https://gate"}, "neither a DNS name nor an IP address"),
        ({"port": 0}, "ports: 0 is no port"),
        ({"admin_port": 65536}, "ports: 65536 is no port"),
        ({"admin_port": 8002}, "ports: 8002 cannot serve both"),
        ({"days": 0}, "days: a certificate cannot be valid for 0"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(place: Path, change: dict[str, Any], sentence: str) -> None:
    good = {"name": "cameras", "host": "gate.example.org", "port": 8002, "admin_port": 8003}
    with pytest.raises(ClapError, match=sentence):
        CoordinatorHome.init(place / "new", **{**good, **change})
    assert not (place / "new").exists()


def test_a_home_that_is_not_there_or_not_whole_says_the_remedy(home: CoordinatorHome, place: Path) -> None:
    with pytest.raises(ClapError, match="no coordinator's home; make one with 'clap coordinator init'"):
        CoordinatorHome.open(place / "nowhere")
    home.server_key.unlink()
    with pytest.raises(ClapError, match=r"server\.key: missing in this coordinator's home"):
        CoordinatorHome.open(home.path)
    for damage in ({"port": "8002"}, {"port": True}, {"port": 8003}, {"host": None}, {"format": 2}, {"name": "A"}):
        kept = (home.path / "coordinator.json").read_text()
        edit(home.path / "coordinator.json", **damage)
        with pytest.raises(ClapError, match=r"coordinator\.json: "):
            CoordinatorHome.open(home.path)
        (home.path / "coordinator.json").write_text(kept)


def test_from_request_to_joined(home: CoordinatorHome, place: Path) -> None:
    asked = SiteHome.request(place / "site", "north", " Town of Ely ")
    assert mode(asked.key) == 0o600
    site = home.approve(place / "north.request.json", days=30)
    assert site == ApprovedSite("north", "Town of Ely", site.approved, site.expires, asked.fingerprint, False)
    assert home.sites() == [site]
    approved, expires = datetime.fromisoformat(site.approved), datetime.fromisoformat(site.expires)
    assert abs(approved - datetime.now(UTC)) < timedelta(minutes=1)
    assert expires - approved == timedelta(days=30)
    assert SiteHome(place / "site").join(place / "north.bundle.json", Path("dataset")) == pytest.approx(30, abs=0.01)
    opened = SiteHome.open(place / "site")
    assert (opened.name, opened.federation, opened.host, opened.port) == ("north", "cameras", "gate.example.org", 8002)
    assert opened.dataset == place / "dataset"
    assert check_identity(opened.certificate, opened.key, opened.authority, "north") == pytest.approx(30, abs=0.01)
    assert opened.authority.read_bytes() == home.authority_certificate.read_bytes()


def test_the_private_key_is_in_no_file_but_its_own(home: CoordinatorHome, place: Path) -> None:
    site = joined(home, place / "site")
    secret = site.key.read_text().splitlines()[5]  # a line in the middle of the key
    assert [file for file in place.rglob("*") if file.is_file() and secret in file.read_text()] == [site.key]
    secrets = [file for file in place.rglob("*") if file.is_file() and "PRIVATE KEY" in file.read_text()]
    assert sorted(secrets) == sorted([site.key, home.authority_key, home.server_key, home.operator_key])


def test_renewal_keeps_the_key_and_what_was_joined(home: CoordinatorHome, place: Path) -> None:
    before = joined(home, place / "site")
    key, first = before.key.read_bytes(), read_certificate(before.certificate)
    SiteHome.request(place / "site", "north", "Town and County")
    assert SiteHome.open(place / "site").federation == "cameras"  # takes part with the old one until the new comes
    home.approve(Path("north.request.json"), days=700)
    SiteHome(place / "site").join(Path("north.bundle.json"), Path("dataset"))
    after = SiteHome.open(place / "site")
    assert after.key.read_bytes() == key
    assert read_certificate(after.certificate).not_valid_after_utc > first.not_valid_after_utc
    assert [site.organisation for site in home.sites()] == ["Town and County"]


def test_another_key_for_an_approved_name_needs_replace(home: CoordinatorHome, place: Path) -> None:
    old = joined(home, place / "old")
    bundle = Path("north.bundle.json").read_bytes()
    new = SiteHome.request(place / "new", "north", "Town")
    with pytest.raises(ClapError, match=r"site 'north' is approved with another key; .* add --replace"):
        home.approve(Path("north.request.json"))
    assert Path("north.bundle.json").read_bytes() == bundle
    assert [site.fingerprint for site in home.sites()] == [old.fingerprint]
    home.approve(Path("north.request.json"), allow_replace=True)
    assert [site.fingerprint for site in home.sites()] == [new.fingerprint]
    with pytest.raises(ClapError, match=r"made for another key .*'clap site request' again"):
        old.join(Path("north.bundle.json"), Path("dataset"))


def test_a_key_belongs_to_one_site(home: CoordinatorHome, place: Path) -> None:
    north = joined(home, place / "north")
    SiteHome.request(place / "south", "south", "Town").key.write_bytes(north.key.read_bytes())
    SiteHome.request(place / "south", "south", "Town")
    for allow_replace in (False, True):
        with pytest.raises(ClapError, match="its key is the one of site 'north'"):
            home.approve(Path("south.request.json"), allow_replace=allow_replace)


def test_a_revoked_site_comes_back_only_by_replace(home: CoordinatorHome, place: Path) -> None:
    joined(home, place / "site")
    assert home.revoke("north").revoked
    assert [(site.name, site.revoked) for site in home.sites()] == [("north", True)]
    with pytest.raises(ClapError, match=r"site 'north' was revoked; .* --replace"):
        home.approve(Path("north.request.json"))
    assert not home.approve(Path("north.request.json"), allow_replace=True).revoked
    with pytest.raises(ClapError, match="no site 'south' was approved; approved: north"):
        home.revoke("south")


def test_sites_are_listed_by_name_and_a_misplaced_record_is_told(home: CoordinatorHome, place: Path) -> None:
    for name in ("south", "east"):
        joined(home, place / name, name)
    assert [site.name for site in home.sites()] == ["east", "south"]
    (home.path / "sites" / "east.json").rename(home.path / "sites" / "west.json")
    with pytest.raises(ClapError, match=r"west\.json: it is about site 'east'"):
        home.sites()


def test_a_request_edited_on_its_way_is_refused(home: CoordinatorHome, place: Path) -> None:
    SiteHome.request(place / "site", "north", "Town")
    file = Path("north.request.json")
    kept = file.read_text()
    edit(file, site="south")
    with pytest.raises(ClapError, match="it names 'south' of 'Town', but the certificate request in it 'north'"):
        home.approve(file)
    file.write_text(kept)
    edit(file, organisation="Elsewhere")
    with pytest.raises(ClapError, match="it names 'north' of 'Elsewhere'"):
        home.approve(file)
    assert home.sites() == []


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "not valid JSON"),
        ("[]", "not a site's request, made by 'clap site request'"),
        ("{}", "not a site's request"),
        ('{"format": 1}', "not a site's request"),
        (
            '{"format": "clap-site-bundle-1"}',
            "this is a site's bundle, made by 'clap coordinator approve'; give a site's",
        ),
        ('{"format": "clap-site-request-12"}', "its format is 'clap-site-request-12', and this release reads"),
        ('{"format": "clap-site-request-1", "site": 7}', "'site' is missing in it or damaged"),
        ('{"format": "clap-site-request-1", "site": "a", "organisation": "b"}', "'certificate_request' is missing"),
        ("[" * 100_000, "JSON"),
        (" " * 1_000_001, "larger than 1000000 bytes"),
    ],
)
def test_other_files_are_no_requests(home: CoordinatorHome, place: Path, content: str, sentence: str) -> None:
    (place / "r.json").write_text(content)
    with pytest.raises(ClapError, match=rf"r\.json: .*{sentence}"):
        home.approve(place / "r.json")


@pytest.mark.parametrize(("key", "value"), [("site", "../etc"), ("site", "server"), ("organisation", "a\nb\ud800")])
def test_names_in_a_request_are_checked(place: Path, key: str, value: str) -> None:
    write_request(
        place / "r.json", SiteRequest(**{"site": "a", "organisation": "b", "certificate_request": "", key: value})
    )
    with pytest.raises(ClapError, match=rf"r\.json: {key}: "):
        read_request(place / "r.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [("federation", "A"), ("site", "all"), ("host", "0.0.0.0"), ("port", 0), ("port", True), ("port", 1.0)],
)
def test_entries_of_a_bundle_are_checked(place: Path, key: str, value: Any) -> None:
    good = {"federation": "f", "site": "a", "host": "h", "port": 1, "certificate": "", "authority": ""}
    write_bundle(place / "b.json", SiteBundle(**{**good, key: value}))
    with pytest.raises(ClapError, match=rf"b\.json: '?{key}"):
        read_bundle(place / "b.json")


def test_damage_in_a_bundle_is_told_with_its_place(home: CoordinatorHome, place: Path) -> None:
    site = joined(home, place / "site")
    for key, value in (("certificate", "x"), ("authority", "\ud800"), ("certificate", "")):
        home.approve(Path("north.request.json"))
        edit(Path("north.bundle.json"), **{key: value})
        with pytest.raises(ClapError, match=rf"north\.bundle\.json: {key}: not a readable certificate"):
            site.join(Path("north.bundle.json"), Path("dataset"))


def test_a_request_is_no_bundle(home: CoordinatorHome, place: Path) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    with pytest.raises(ClapError, match="this is a site's request, made by 'clap site request'; give a site's bundle"):
        site.join(Path("north.request.json"), Path("dataset"))


def test_each_step_names_the_one_before(home: CoordinatorHome, place: Path) -> None:
    with pytest.raises(ClapError, match="no site's home; begin with 'clap site request'"):
        SiteHome.open(place / "site")
    with pytest.raises(ClapError, match="no site has asked here; begin with 'clap site request'"):
        SiteHome(place / "site").join(place / "b.json", Path("dataset"))
    SiteHome.request(place / "site", "north", "Town")
    with pytest.raises(ClapError, match=r"site 'north' has asked but not joined; .* 'clap site join'"):
        SiteHome.open(place / "site")


def test_a_homes_name_stays(home: CoordinatorHome, place: Path) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    key = site.key.read_bytes()
    with pytest.raises(ClapError, match="the home of site 'north', whose name stays; give another --home for 'south'"):
        SiteHome.request(place / "site", "south", "Town")
    assert site.key.read_bytes() == key
    assert not Path("south.request.json").exists()


def test_a_bundle_of_another_site_or_federation_is_refused(home: CoordinatorHome, place: Path) -> None:
    north, south = joined(home, place / "north"), joined(home, place / "south", "south")
    with pytest.raises(ClapError, match="made for site 'south', and this is the home of 'north'"):
        north.join(Path("south.bundle.json"), Path("dataset"))
    other = CoordinatorHome.init(place / "other", "doors", "doors.example.org", 1, 2)
    again = CoordinatorHome.init(place / "again", "cameras", "gate.example.org", 1, 2)
    kept = (south.certificate.read_bytes(), south.authority.read_bytes(), (south.path / "site.json").read_bytes())
    other.approve(Path("south.request.json"))
    with pytest.raises(ClapError, match=r"of federation 'doors', but this site has joined 'cameras'; .*another --home"):
        south.join(Path("south.bundle.json"), Path("dataset"))
    again.approve(Path("south.request.json"))
    with pytest.raises(ClapError, match=r"'cameras' had another authority when this site joined"):
        south.join(Path("south.bundle.json"), Path("dataset"))
    assert kept == (
        south.certificate.read_bytes(),
        south.authority.read_bytes(),
        (south.path / "site.json").read_bytes(),
    )


def test_a_bundle_put_together_from_two_is_refused(home: CoordinatorHome, place: Path) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    again = CoordinatorHome.init(place / "again", "cameras", "gate.example.org", 1, 2)
    home.approve(Path("north.request.json"))
    edit(Path("north.bundle.json"), authority=again.authority_certificate.read_text())
    with pytest.raises(ClapError, match=r"north\.bundle\.json: not signed by the authority of federation 'cameras'"):
        site.join(Path("north.bundle.json"), Path("dataset"))
    home.approve(Path("north.request.json"))
    edit(Path("north.bundle.json"), federation="doors")
    with pytest.raises(ClapError, match="names federation 'doors', but its authority is 'cameras'"):
        site.join(Path("north.bundle.json"), Path("dataset"))


@pytest.mark.parametrize(
    ("key", "value"),
    [("host", "elsewhere.example.org"), ("host", "Gate.example.org"), ("port", 8004), ("signature", "00")],
)
def test_a_bundle_whose_address_was_changed_on_its_way_is_refused(
    home: CoordinatorHome, place: Path, key: str, value: Any
) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    home.approve(Path("north.request.json"))
    kept = Path("north.bundle.json").read_text()
    edit(Path("north.bundle.json"), **{key: value})
    with pytest.raises(
        ClapError, match=r"north\.bundle\.json: an entry of it .* was changed after the coordinator signed"
    ):
        site.join(Path("north.bundle.json"), Path("dataset"))
    assert not site.certificate.exists() and not site.authority.exists()
    Path("north.bundle.json").write_text(kept)
    site.join(Path("north.bundle.json"), Path("dataset"))
    assert SiteHome.open(site.path).host == "gate.example.org"


def test_a_signature_holds_for_one_bundle_only(home: CoordinatorHome, place: Path) -> None:
    """Neither another site's bundle nor one of another authority lends its signature."""
    site = SiteHome.request(place / "site", "north", "Town")
    home.approve(Path("north.request.json"))
    SiteHome.request(place / "south", "south", "Town")
    home.approve(Path("south.request.json"))
    again = CoordinatorHome.init(place / "again", "cameras", "gate.example.org", 8002, 8003)
    again.approve(Path("north.request.json"), place / "again.json")
    for other in (Path("south.bundle.json"), place / "again.json"):
        home.approve(Path("north.request.json"))
        edit(Path("north.bundle.json"), signature=json.loads(other.read_text())["signature"])
        with pytest.raises(ClapError, match="was changed after the coordinator signed it"):
            site.join(Path("north.bundle.json"), Path("dataset"))


def test_a_bundle_of_a_release_that_signed_none_is_refused_and_asked_for_anew(
    home: CoordinatorHome, place: Path
) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    home.approve(Path("north.request.json"))
    edit(Path("north.bundle.json"), signature=None)  # leaves the entry out
    with pytest.raises(ClapError, match=r"it has no signature, .*earlier release: ask the coordinator to approve"):
        site.join(Path("north.bundle.json"), Path("dataset"))
    edit(Path("north.bundle.json"), signature=7)
    with pytest.raises(ClapError, match="'signature' is missing in it or damaged"):
        site.join(Path("north.bundle.json"), Path("dataset"))


def test_the_signature_is_one_that_any_library_can_check(home: CoordinatorHome, place: Path) -> None:
    """RSA-PSS over the name of the format and the sorted entries, written out here once more."""
    SiteHome.request(place / "site", "north", "Town")
    home.approve(Path("north.request.json"))
    content = json.loads(Path("north.bundle.json").read_text())
    signature, form = bytes.fromhex(content.pop("signature")), content.pop("format")
    key = read_certificate(home.authority_certificate).public_key()
    assert isinstance(key, rsa.RSAPublicKey)
    data = form.encode() + b"\n" + json.dumps(content, sort_keys=True).encode()
    key.verify(signature, data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())


def test_there_must_be_a_dataset(home: CoordinatorHome, place: Path) -> None:
    site = SiteHome.request(place / "site", "north", "Town")
    home.approve(Path("north.request.json"))
    with pytest.raises(ClapError, match=r"^nowhere: not a dataset"):
        site.join(Path("north.bundle.json"), Path("nowhere"))
    with pytest.raises(ClapError, match=r"^coordinator/videos\.csv: missing, so coordinator is no dataset"):
        site.join(Path("north.bundle.json"), Path("coordinator"))
    assert not site.certificate.exists()


def test_a_bundle_goes_where_it_is_wanted(home: CoordinatorHome, place: Path) -> None:
    SiteHome.request(place / "site", "north", "Town", place / "mail" / "ask.json")
    home.approve(place / "mail" / "ask.json", place / "mail" / "answer.json")
    assert read_bundle(place / "mail" / "answer.json").site == "north"
    assert not list(place.glob("*.json"))


def test_a_damaged_key_of_the_authority_is_told(home: CoordinatorHome, place: Path) -> None:
    SiteHome.request(place / "site", "north", "Town")
    home.authority_key.write_text("nothing")
    with pytest.raises(ClapError, match=r"authority\.key: not a readable private key"):
        home.approve(Path("north.request.json"))
