"""As ``rtsp_camera.py``, with GStreamer's RTSP server. Run by the system's Python.

    /usr/bin/python3 gstreamer_camera.py UNITS FPS PORT [USER:PASSWORD basic|digest]

UNITS holds H.264 access units, each behind its length (4 bytes, little-endian). They are sent in a loop, one every
1/FPS seconds by the clock, their times going on. All viewers share one stream; it begins anew when the first comes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from rtsp_camera import access_units  # beside this file

PIPELINE = (
    "( appsrc name=camera is-live=true format=time caps=video/x-h264,stream-format=byte-stream,alignment=au"
    " ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=-1 )"
)


def main(units_file: str, fps: str, port: str, login: str = "", how: str = "basic") -> None:
    """Serve until killed; prints a line when ready."""
    import gi

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtsp", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtsp, GstRtspServer

    Gst.init(None)
    units, step = access_units(Path(units_file)), Gst.SECOND / float(fps)

    def configure(_: object, media: GstRtspServer.RTSPMedia) -> None:
        source, sent = media.get_element().get_by_name("camera"), 0

        def send() -> bool:
            nonlocal sent
            clock = source.get_clock()
            if clock is None:
                return True  # not playing yet
            now = clock.get_time() - source.get_base_time()
            while sent * step <= now:
                buffer = Gst.Buffer.new_wrapped(units[sent % len(units)])
                buffer.pts = buffer.dts = int(sent * step)
                buffer.duration = int(step)
                if source.emit("push-buffer", buffer) != Gst.FlowReturn.OK:
                    return False  # the last viewer has gone
                sent += 1
            return True

        GLib.timeout_add(5, send)

    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(PIPELINE)
    factory.set_shared(True)
    factory.connect("media-configure", configure)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    if login:
        kinds = {"basic": GstRtsp.RTSPAuthMethod.BASIC, "digest": GstRtsp.RTSPAuthMethod.DIGEST}
        user, _, password = login.partition(":")
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(kinds[how])
        if how == "digest":
            auth.add_digest(user, password, token)
        else:
            auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        for right in ("media.factory.access", "media.factory.construct"):
            permissions.add_permission_for_role("viewer", right, True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    if not server.attach(None):
        sys.exit(f"port {port} is taken")
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main(*sys.argv[1:])
