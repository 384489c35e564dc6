"""The program behind ``rtsp_server.py``: an RTSP server (RFC 2326) that plays a camera, over TCP alone.

    python rtsp_camera.py UNITS FPS PORT [USER:PASSWORD basic|digest]

UNITS holds H.264 access units in Annex B form, each behind its length (4 bytes, little-endian). They are sent in a
loop, one every 1/FPS seconds by the clock, as RTP packets (RFC 6184: single units and FU-A) within the connection.
Every viewer sees them from the first on.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import select
import socketserver
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path

CLOCK = 90_000  # of RTP time stamps of video
PAYLOAD = 1400  # bytes of an RTP packet that most networks carry whole
REPORT = 5.0  # seconds between two sender reports
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, SET_PARAMETER, TEARDOWN"


def access_units(file: Path) -> list[bytes]:
    """What the file holds, one by one."""
    content, at, found = file.read_bytes(), 0, []
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at)
        found.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return found


def nal_units(access_unit: bytes) -> list[bytes]:
    """What lies between the start codes; of each, the low 5 bits of the first byte are its kind."""
    return [unit for unit in re.split(rb"\x00*\x00\x00\x01", access_unit) if unit]


def fragments(unit: bytes) -> Iterator[bytes]:
    """The payloads of RTP that carry one NAL unit."""
    if len(unit) <= PAYLOAD:
        yield unit
        return
    indicator, kind, body = unit[0] & 0xE0 | 28, unit[0] & 31, unit[1:]
    for at in range(0, len(body), PAYLOAD - 2):
        start, end = at == 0, at + PAYLOAD - 2 >= len(body)
        yield bytes([indicator, start << 7 | end << 6 | kind]) + body[at : at + PAYLOAD - 2]


class Camera(socketserver.ThreadingTCPServer):
    """What all viewers share: the pictures and the login."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, units: Path, fps: float, port: int, login: str, how: str) -> None:
        self.pictures = [nal_units(unit) for unit in access_units(units)]
        self.sets = [next(unit for unit in self.pictures[0] if unit[0] & 31 == kind) for kind in (7, 8)]
        self.fps, self.login, self.how, self.nonce = fps, login, how, secrets.token_hex(8)
        super().__init__(("127.0.0.1", port), Viewer)

    def description(self) -> str:
        """The stream in SDP."""
        given = ",".join(base64.b64encode(unit).decode() for unit in self.sets)
        lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=camera", "t=0 0", "a=range:npt=now-", "m=video 0 RTP/AVP 96"]
        lines += ["c=IN IP4 0.0.0.0", f"a=rtpmap:96 H264/{CLOCK}", f"a=framerate:{self.fps:g}", "a=control:track0"]
        profile = self.sets[0][1:4].hex()
        lines += [f"a=fmtp:96 packetization-mode=1;profile-level-id={profile};sprop-parameter-sets={given}"]
        return "\r\n".join(lines) + "\r\n"

    def permits(self, method: str, given: str) -> bool:
        """Whether the header ``Authorization`` holds the login."""
        user, _, password = self.login.partition(":")
        if self.how == "basic":
            return given == f"Basic {base64.b64encode(self.login.encode()).decode()}"
        fields = dict(re.findall(r'(\w+)="([^"]*)"', given))
        known = _md5(f"{user}:camera:{password}"), self.nonce, _md5(f"{method}:{fields.get('uri')}")
        return fields.get("nonce") == self.nonce and fields.get("response") == _md5(":".join(known))

    def challenge(self) -> str:
        return 'Basic realm="camera"' if self.how == "basic" else f'Digest realm="camera", nonce="{self.nonce}"'


class Viewer(socketserver.BaseRequestHandler):
    """One connection: answers what is asked, and sends pictures once they are asked for."""

    server: Camera

    def handle(self) -> None:
        self._asked, self._open = b"", True
        self._begun: float | None = None
        try:
            while self._open:
                if select.select([self.request], [], [], self._send_what_is_due())[0]:
                    if not (more := self.request.recv(65536)):
                        return
                    self._asked += more
                    self._answer_all()
        except ConnectionError:
            pass

    def _answer_all(self) -> None:
        while self._asked:
            if self._asked[0] == 0x24:  # a packet of RTCP, which tells how the pictures are received
                size = 4 + int.from_bytes(self._asked[2:4], "big")
                if len(self._asked) < size:
                    return
                self._asked = self._asked[size:]
                continue
            head, end, rest = self._asked.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            size = int(fields.get("content-length", 0))
            if not end or len(rest) < size:
                return
            self._asked = rest[size:]
            method, url, _ = first.split(" ")
            self._answer(method, url, fields)

    def _answer(self, method: str, url: str, fields: dict[str, str]) -> None:
        reply, body, status = {"CSeq": fields.get("cseq", "0")}, "", "200 OK"
        if method == "OPTIONS":
            reply["Public"] = METHODS
        elif method not in METHODS:
            status = "501 Not Implemented"
        elif self.server.login and not self.server.permits(method, fields.get("authorization", "")):
            status, reply["WWW-Authenticate"] = "401 Unauthorized", self.server.challenge()
        elif not re.search(r"^rtsp://[^/]+/cam(/|$)", url):
            status = "404 Not Found"
        elif method == "DESCRIBE":
            body = self.server.description()
            reply |= {"Content-Base": url.rstrip("/") + "/", "Content-Type": "application/sdp"}
        elif method == "SETUP" and "/TCP" not in fields.get("transport", ""):
            status = "461 Unsupported Transport"
        elif method == "SETUP":
            reply |= {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1;timeout=60"}
        elif method == "PLAY":
            reply |= {"Session": "1", "Range": "npt=now-"}
        self._open = method != "TEARDOWN"
        head = [f"RTSP/1.0 {status}", *(f"{name}: {value}" for name, value in reply.items())]
        head += [f"Content-Length: {len(body)}"] if body else []
        self.request.sendall(("\r\n".join([*head, "", ""]) + body).encode())
        if method == "PLAY" and status.startswith("200") and self._begun is None:
            self._play()

    def _play(self) -> None:
        self._begun, self._next, self._counted, self._sent, self._reported = time.monotonic(), 0, 0, 0, -REPORT
        self._source, self._number, self._stamp = secrets.randbits(32), secrets.randbits(16), secrets.randbits(32)

    def _send_what_is_due(self) -> float | None:
        """Returns seconds until the next picture; None before any is asked for."""
        if self._begun is None:
            return None
        while (wait := self._begun + self._next / self.server.fps - time.monotonic()) <= 0:
            at = self._next / self.server.fps
            stamp = (self._stamp + round(at * CLOCK)) % 2**32
            if at - self._reported >= REPORT:
                self._report(at, stamp)
            payloads = [payload for unit in self._picture() for payload in fragments(unit)]
            self.request.sendall(
                b"".join(self._rtp(payload, stamp, part == len(payloads)) for part, payload in enumerate(payloads, 1))
            )
            self._next += 1
        return wait

    def _picture(self) -> Iterator[bytes]:
        """The next one's NAL units, with the parameter sets before each key slice, as GStreamer sends them."""
        for unit in self.server.pictures[self._next % len(self.server.pictures)]:
            yield from (*self.server.sets, unit) if unit[0] & 31 == 5 else (unit,)

    def _rtp(self, payload: bytes, stamp: int, last: bool) -> bytes:
        self._number = (self._number + 1) % 2**16
        self._counted, self._sent = self._counted + 1, self._sent + len(payload)
        head = struct.pack("!BBHII", 0x80, 96 | last << 7, self._number, stamp, self._source)
        return _interleaved(0, head + payload)

    def _report(self, at: float, stamp: int) -> None:
        """Tell which hour a time stamp means (a sender report of RTCP)."""
        self._reported = at
        hour = int((time.time() + 2_208_988_800) * 2**32)  # NTP counts from 1900, in parts of 2^-32 s
        head = struct.pack("!BBHI", 0x80, 200, 6, self._source)
        counts = struct.pack("!QIII", hour, stamp, self._counted, self._sent % 2**32)
        self.request.sendall(_interleaved(1, head + counts))


def _interleaved(channel: int, packet: bytes) -> bytes:
    return struct.pack("!cBH", b"$", channel, len(packet)) + packet


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def main(units: str, fps: str, port: str, login: str = "", how: str = "basic") -> None:
    """Serve until killed; prints a line when ready."""
    with Camera(Path(units), float(fps), int(port), login, how) as camera:
        print("ready", flush=True)
        camera.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
