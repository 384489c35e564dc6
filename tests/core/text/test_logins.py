"""What is shown of an address: whatever place a secret has in it, it is not among the signs that come out."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clap_vad.core.text.addresses import split_address
from clap_vad.core.text.logins import shown_address, shown_reason
from clap_vad.errors import ClapError

SECRETS = st.text("abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ0123456789!$*-_.~", min_size=6, max_size=14).filter(
    lambda text: re.search("[A-Z][a-z]*[0-9]|[0-9][a-z]*[A-Z]", text) and not text.startswith((".", "~"))
)
"""Passwords and tokens: letters and digits mixed, perhaps signs."""

ODD = st.text("aB3 :@/#?%&=+[]\\|\"'<>^`{};,", min_size=1, max_size=4)
"""Signs that should be escaped in a login, with letters between them."""

PLACES = (
    "rtsp://admin:{}@10.0.0.5:554/Streaming/Channels/101",
    "rtsp://{}:x@cam.lan/1",
    "rtsp://{}@cam.lan/1",
    "rtsp://10.0.0.5/user=admin_password={}_channel=1_stream=0.sdp?real_stream",
    "rtsp://10.0.0.5/user=admin&password={}&channel=1&stream=0.sdp",
    "rtsp://10.0.0.5/USER=admin;PWD={};CH=1",
    "rtsp://10.0.0.5:554/{}/live/ch01",
    "rtsp://10.0.0.5:554/live/{}",
    "rtsp://10.0.0.5:554/live/admin/{}/1",
    "rtsp://10.0.0.5/live/pwd-{}",
    "rtsps://nvr.lan:7441/{}?enableSrtp",
    "rtmp://10.0.0.5/bcs/channel0_main.bcs?channel=0&stream=0&user=admin&password={}",
    "http://cam/cgi-bin/snapshot.cgi?user=admin&pwd={}",
    "http://cam/snap.jpg?usr=admin&pw={}&_=1",
    "http://cam/video.mjpg?{}",
    "http://cam/video.mjpg?{}=1",
    "http://cam/video.mjpg?channel={}",
    "http://cam/img/snapshot.cgi?size=3;loginuse=admin;loginpas={}",
    "http://cam/video.mjpg#{}",
    "srt://cam:9000?streamid=publish:{}&passphrase={}",
    "udp://239.0.0.1:1234?key={}",
)


@settings(max_examples=2500)
@given(st.sampled_from(PLACES), SECRETS, st.booleans())
def test_a_secret_is_shown_from_no_place(place: str, secret: str, escaped: bool) -> None:
    written = "".join(f"%{ord(sign):02x}" for sign in secret) if escaped else quote(secret, safe="!$*-_.~")
    shown = shown_address(place.replace("{}", written))
    assert secret not in shown and written not in shown and secret.lower() not in unquote(shown).lower()
    assert "://" in shown  # such an address is certain in all its parts


@settings(max_examples=2500)
@given(SECRETS, ODD, SECRETS)
def test_a_login_with_signs_that_should_be_escaped_is_refused_or_not_shown(one: str, sign: str, other: str) -> None:
    address = f"rtsp://admin:{one}{sign}{other}@10.0.0.5:554/Streaming/Channels/101"
    shown = shown_address(address)
    try:
        split_address(address)
    except ClapError as error:
        shown += str(error)
    assert one not in shown and other not in shown


@settings(max_examples=1000)
@given(st.text(max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    for source in (text, f"rtsp://{text}", f"rtsp://cam/{text}", f"rtsp://{text}@cam/1"):
        assert isinstance(shown_address(source), str)


@pytest.mark.parametrize(
    "address",
    [
        "rtsp://10.0.0.5/1",
        "rtsp://10.0.0.5:554/Streaming/Channels/101",
        "rtsp://10.0.0.5:554/cam/realmonitor?channel=1&subtype=0",
        "rtsp://10.0.0.5/h264Preview_01_main",
        "rtsp://10.0.0.5/axis-media/media.amp",
        "rtsp://10.0.0.5/live/ch00_0",
        "rtsp://[fe80::1]:8554/live.sdp",
        "rtmp://10.0.0.5/live/stream",
        "http://127.0.0.1:19000/snap.jpg",
        "http://cam.lan/video.mjpg",
        "udp://@239.0.0.1:1234",
        "tcp://127.0.0.1:18100",
        "videos/gate@night.mp4",
        "/dev/video0",
    ],
)
def test_an_address_without_a_login_is_shown_as_it_is(address: str) -> None:
    assert shown_address(address) == address


@pytest.mark.parametrize(
    ("address", "remedy"),
    [
        ("rtsp://admin:p#ss@10.0.0.5/1", "write # in a login as %23"),
        ("rtsp://admin:p?ss@10.0.0.5/1", "write [?] in a login as %3F"),
        ("rtsp://admin:p/ss@10.0.0.5/1", "write / in a login as %2F"),
        ("rtsp://admin:p ss@10.0.0.5/1", "as %20"),
        ("rtsp://admin:p%zz@10.0.0.5/1", "write % as %25"),
        ("rtsp://admin:p[ss@10.0.0.5/1", "as %5B"),
        ("rtsp://admin:p\\ss@10.0.0.5/1", "as %5C"),
        ("rtsp://10.0.0.5:99999/1", "the port in the address is not a number"),
        ("rtsp://10.0.0.500/1", "or four numbers"),
        ("rtsp:///1", "the address has no host"),
        ("rtsp:/10.0.0.5/1", "not complete"),
        ("rtsp://fe80::1/1", "write IPv6 in brackets"),
    ],
)
def test_an_address_whose_parts_are_not_certain_is_refused_with_its_remedy(address: str, remedy: str) -> None:
    with pytest.raises(ClapError, match=remedy) as caught:
        split_address(address)
    assert "ss" not in re.sub("address|password|host", "", str(caught.value)) and "admin" not in str(caught.value)


def test_blanks_around_an_address_do_not_count() -> None:
    assert split_address(" rtsp://10.0.0.5/1\n").joined() == "rtsp://10.0.0.5/1"


def test_reasons_that_an_older_release_wrote_are_not_shown_where_they_repeat_an_address() -> None:
    assert shown_reason("refused: 'rtsp://a:b@cam/1'") == "no picture"
    assert shown_reason("Connection refused") == "Connection refused"
