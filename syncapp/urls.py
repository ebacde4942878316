"""``path("sync/", include("syncapp.urls"))``."""

from syncapp.web.urls import app_name, urlpatterns

__all__ = ["app_name", "urlpatterns"]
