"""Admits only sites that are approved and not revoked; a revoked site's certificate may still be valid."""

from __future__ import annotations

from abc import ABC, abstractmethod

from nvflare.apis.event_type import EventType
from nvflare.apis.fl_component import FLComponent
from nvflare.apis.fl_constant import FLContextKey
from nvflare.apis.fl_context import FLContext
from nvflare.apis.fl_exception import NotAuthenticated
from nvflare.private.defs import ClientType

__all__ = ["FlareGate"]


class FlareGate(FLComponent, ABC):
    """Subclass it with the list of approved sites, and name it in a server's ``resources.json``."""

    @abstractmethod
    def welcome(self, name: str) -> bool:
        """Whether a site with this name may register."""

    def handle_event(self, event_type: str, fl_ctx: FLContext) -> None:
        """FLARE's hook; FLARE then checks that the name is the one in the site's certificate."""
        if event_type != EventType.CLIENT_REGISTER_RECEIVED:
            return
        if fl_ctx.get_prop(FLContextKey.CLIENT_TYPE) == ClientType.ADMIN:
            return  # its role is in its certificate, which FLARE checks
        peer = fl_ctx.get_peer_context()
        name = peer.get_identity_name() if peer is not None else ""
        if not self.welcome(name):
            raise NotAuthenticated(f"'{name}' is not an approved site of this federation")
