"""Addresses of syncapp: below the prefix of ``include("syncapp.urls")``, and at the root of the site."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from syncapp.web import health, views
from syncapp.web.api import api

app_name = "syncapp"

urlpatterns: list[URLPattern | URLResolver] = [
    path("", views.panel, name="panel"),
    path("api/", (api.urls[0], "ninja", "api")),
]

#: For the site's own ``urls.py``: ``urlpatterns += root_urlpatterns``.
root_urlpatterns: list[URLPattern] = [
    path("healthz", health.healthz, name="syncapp-healthz"),
]
