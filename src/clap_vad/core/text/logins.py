"""The part of an address that may be shown: only parts known to be harmless, nothing that may be a secret.

Scheme, host and port are shown. Of path and query only words from camera manuals and short numbers are shown; three
dots replace the rest. So it does not matter where or how a camera expects its login.
"""

from __future__ import annotations

import re

from ...errors import ClapError
from .addresses import AddressParts, looks_like_address, split_address

__all__ = ["shown_address", "shown_parts", "shown_reason"]

_DOTS = "..."

_MANUALS = """
1080p 264 265 360p 480p 4k 720p a act action alarm amp api app asf asp audio aux av avi axis b bcast bcs bin bmp c cam
camera cameras cap capture cgi ch chan channel channelid channels cif cmd codec config control current d1 data def
default defaultprimary defaultsecondary dms dvr encoder faststream fcgi feed fhd first flv frame full get getdata
getimage getsnapshot getstream gif h264 h264main h264major h264minor h264preview h264sub h265 h265preview h26x half hd
hevc hi high hls ids image images img index input inst ip ipcam isapi jpeg jpg js js265 last live livech livestream
livestreaming lo low m3u8 main mainstream major media mediainput medialivestream mediaprofile mid minor mjpeg mjpg
mobile mobotix motion mov mp4 mpeg mpeg2 mpeg4 mpeg4cif mpg multicast mux nph nphmotionjpeg nvc nvr once oneshotimage
onvif onvifsnapshot open output photo php pic pics picture play playback png preview primary profile profilesvc psia
pub push quad raw real realmonitor realstream record recording rtmp rtp rtpvideo rtsp rtspstream s sav sd sdp sec
second secondary server service services shot smp sms snap snapfull snappicture snapshot source src static still
stream streaming streamingsetting streams sub substream svc tcp third tmp tmpfs track trackid tracks ts tunnel ucast
udp unicast url v vga video videofeed videoinput videomain videos videostream videosub view viewer vod web webcam
webcapture webm ws x y
"""
_WORDS = frozenset(_MANUALS.split())
"""Words of paths in manuals of cameras and servers, in lower case."""

_PARAMETERS = """
action audio bitrate cam camera cameraid ch chan channel channelid channelno chn cmd codec coding compression fps
frame framerate h26x height inst line listen media mode number profile proto protocol quality rate res resolution size
source src stream streamid streamno streamtype subtype track trackid transport transportmode type unicast unit video
videocodec videoenabled view viewno width
"""
_KEYS = frozenset(_PARAMETERS.split())
"""Query parameters whose value may be shown if it is a known word, a short number or a size."""

_LONG_KEYS = frozenset(
    ("buffer_size", "fifo_size", "latency", "overrun_nonfatal", "pkt_size", "reuse", "timeout", "ttl")
)
"""FFmpeg parameters, whose values are longer numbers."""

_FLAGS = frozenset(("real_stream", "realstream", "enablesrtp", "listen", "tcp", "udp", "multicast", "unicast", "onvif"))
_OTHER_VALUES = """
auto caller false full half listener multicast no off on onvif rendezvous rtsp snap snapshot stream tcp true udp
unicast yes
"""
_VALUES = frozenset(_OTHER_VALUES.split())

_NUMBER = re.compile(r"[0-9]{1,3}")
_CHANNEL = re.compile(r"[0-9]{1,4}")  # 1601 is the first stream of a recorder's sixteenth channel
_BEHIND_CHANNEL = frozenset(("channels", "channel", "ch", "tracks", "track", "streams", "stream", "livestream"))
_SIZE = re.compile(r"[0-9]{2,4}[x*,][0-9]{2,4}")
_MOST_DIGITS = 6  # in one part of a path: enough for 'ch01_0.264'
_FOUND = re.compile(
    r"(?<![A-Za-z0-9])((?:channel|chn|ch|stream|subtype|track|trackid|cam|camera|channelid|streamid|inst|unit)"
    r"=[0-9]{1,3})(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def shown_address(source: str) -> str:
    """The part of a camera's address that may be shown and stored; a file name stays as it is.

    >>> shown_address("rtsp://admin:p%2Fss@10.0.0.5:554/cam/realmonitor?channel=1&subtype=0")
    'rtsp://10.0.0.5:554/cam/realmonitor?channel=1&subtype=0'
    >>> shown_address("rtsp://10.0.0.5/user=admin_password=s3cret_channel=1_stream=0.sdp?real_stream")
    'rtsp://10.0.0.5/...channel=1...stream=0...?real_stream'
    >>> shown_address("rtsps://nvr.lan:7441/AbCdEf123?enableSrtp&token=s3cret")
    'rtsps://nvr.lan:7441/...?enableSrtp&...'
    >>> shown_address("videos/gate@night.mp4")
    'videos/gate@night.mp4'
    """
    if not looks_like_address(source):
        return source
    try:
        return shown_parts(split_address(source))
    except ClapError:
        return "an address"  # no part of it is certain


def shown_parts(parts: AddressParts) -> str:
    """The part of a parsed address that may be shown."""
    port = "" if parts.port is None else f":{parts.port}"
    query = "" if parts.query is None else f"?{_query(parts.query)}"
    fragment = "" if parts.fragment is None else f"#{_DOTS}"
    at = "@" if parts.login == "" else ""  # as in udp://@239.0.0.1:1234, which has no login
    return f"{parts.scheme}://{at}{parts.host}{port}{_path(parts.path)}{query}{fragment}"


def shown_reason(text: str) -> str:
    """The reason for an end as an older release stored it, without the parts of an address that it could repeat.

    >>> shown_reason("Connection refused"), shown_reason("HTTP error 401: '/pwd=s3cret'")
    ('Connection refused', 'no picture')
    """
    return text if not re.search(r"://|[@='\"?&#%\\]|/\S", text) else "no picture"


def _path(path: str) -> str:
    shown: list[str] = []
    known, before = True, ""
    for part in path.split("/"):
        # a value may follow an unknown word: /pwd/1234
        known = known and _is_known(part, before)
        shown.append(part if known else _numbers_in(part))
        before = part.lower()
    return "/".join(_merged(shown))


def _is_known(part: str, before: str) -> bool:
    if not part:
        return True
    if before in _BEHIND_CHANNEL and _CHANNEL.fullmatch(part):
        return True
    if "=" in part:
        return all(map(_is_known_parameter, re.split("[&;_]", part)))
    words = re.split(r"[-_.+]", part)
    if sum(sign.isdigit() for sign in part) > _MOST_DIGITS or not part.isascii():
        return False
    if len(words) > 1 and all(word.isdigit() for word in words):
        return False  # the digits of one number, separated
    return all(map(_is_word, words))


def _is_word(word: str) -> bool:
    if _NUMBER.fullmatch(word):
        return True
    small = word.lower()
    return small in _WORDS or re.sub(r"[0-9]{1,3}$", "", small) in _WORDS - {""}


def _query(query: str) -> str:
    return "&".join(_merged([part if _is_known_parameter(part) else _DOTS for part in re.split("[&;]", query)]))


def _is_known_parameter(part: str) -> bool:
    key, equals, value = part.partition("=")
    key, value = key.lower(), value.lower()
    if not equals:
        return key in _FLAGS
    if key in _LONG_KEYS:
        return re.fullmatch(r"[0-9]{1,9}", value) is not None
    if key not in _KEYS or "=" in value:
        return False
    return value in _VALUES or bool(_CHANNEL.fullmatch(value) or _SIZE.fullmatch(value)) or _is_known(value, "")


def _numbers_in(part: str) -> str:
    """Dots for a part of a path, but keep channel and stream numbers: they tell a recorder's cameras apart."""
    found = _FOUND.findall(part)
    return _DOTS + "".join(number + _DOTS for number in found)


def _merged(parts: list[str]) -> list[str]:
    """The parts, with consecutive dots merged into one."""
    return [part for at, part in enumerate(parts) if part != _DOTS or at == 0 or parts[at - 1] != _DOTS]
