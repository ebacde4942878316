"""The program as an ASGI application: pages over HTTP, peers and live pages over websockets."""

import os
import warnings

from channels.routing import ProtocolTypeRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")

# WhiteNoise and Django's own file view answer with ordinary files; Django reads them in a thread.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

http_application = get_asgi_application()  # loads the apps: what follows may import their modules

from syncapp.web.routing import websocket_application  # noqa: E402

application = ProtocolTypeRouter({"http": http_application, "websocket": websocket_application()})
