"""The websockets of syncapp, for the ``websocket`` entry of a project's ``ProtocolTypeRouter``."""

from __future__ import annotations

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from django.urls import path, re_path

from syncapp.engine.supervisor import engine_host
from syncapp.web import backpressure
from syncapp.web.live import LiveConsumer
from syncapp.web.origin import SameOrigin
from syncapp.web.peer import PeerEndpoint

# Here rather than in a command: `daphne project.asgi:application` comes by as well.
backpressure.install()


def websocket_application() -> Any:
    """The ASGI application: peers (no cookies, no origin) and the panel's live view (both checked)."""
    # Any: to Django's own type a route leads to a view.
    peer: Any = PeerEndpoint(engine_host)
    live: Any = SameOrigin(AuthMiddlewareStack(LiveConsumer.as_asgi()))
    return URLRouter(
        [
            path("sync/peer/", peer),
            path("sync/peer/<str:code>/", peer),
            path("sync/live/", live),
            # Without it Channels raises for an unknown path, and each scan of the site becomes an error in
            # the log.
            re_path(r"", WebsocketDenier.as_asgi()),
        ]
    )
