"""The panel's page: a shell that carries the built program and what it needs to start."""

from __future__ import annotations

import secrets
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.shortcuts import render, resolve_url
from django.urls import NoReverseMatch, reverse
from django.utils.translation import get_language, gettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from syncapp import conf
from syncapp.web import build
from syncapp.web.access import may_configure, may_view

#: Languages that the panel speaks.
LANGUAGES = ("en", "ru")


@never_cache
@require_safe
def panel(request: HttpRequest) -> HttpResponse:
    """The panel for staff who may see links; the log-in page for others."""
    if not (request.user.is_authenticated and request.user.is_active and request.user.is_staff):
        return redirect_to_login(request.get_full_path(), _login_url())
    if not may_view(request.user):
        raise PermissionDenied(gettext("You may not see links. Ask an administrator for the permission."))
    files = build.entry()
    nonce = secrets.token_urlsafe(16)
    context = {"build": files, "nonce": nonce, "page": _page(request), "title": conf.current().title}
    response = render(request, "syncapp/panel.html", context, status=200 if files else 503)
    _secure(response, nonce)
    return response


def _login_url() -> str:
    return _address("admin:login") or resolve_url(settings.LOGIN_URL)


def _address(name: str) -> str:
    """The address of a view that a site may or may not have."""
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""


def _page(request: HttpRequest) -> dict[str, Any]:
    """What the panel's program starts from. Only the CSRF token is secret, and that is the user's own."""
    base = reverse("syncapp:panel")
    return {
        "language": (get_language() or "en").split("-")[0],
        "languages": [code for code, _name in settings.LANGUAGES if code in LANGUAGES],
        "csrf": get_token(request),
        "title": conf.current().title,
        "user": request.user.get_username(),
        "mayConfigure": may_configure(request.user),
        "urls": {
            "api": f"{base}api",
            "live": f"{base}live/",
            "peer": f"{conf.current().public_url}{base}peer/",
            "language": _address("set_language"),
            "program": _address("admin:index"),
            "login": f"{_login_url()}?next={base}",
        },
    }


def _secure(response: HttpResponse, nonce: str) -> None:
    """Only this page's own files run, only this site is talked to, and no other page may frame it."""
    policy = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    response["Content-Security-Policy"] = "; ".join(f"{name} {value}" for name, value in policy.items())
    response["X-Frame-Options"] = "DENY"
    response["X-Content-Type-Options"] = "nosniff"
    response["Referrer-Policy"] = "same-origin"
    response["Cross-Origin-Opener-Policy"] = "same-origin"
