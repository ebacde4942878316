"""Addresses of the program: the admin, the synchronisation, the language switch, uploaded files."""

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.urls import include, path
from django.views.generic import RedirectView
from django.views.static import serve

from syncapp.web.urls import root_urlpatterns

admin.site.site_header = settings.SYNCAPP_TITLE
admin.site.site_title = settings.SYNCAPP_TITLE
admin.site.site_url = None  # "View site" would only lead back to the admin

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="home"),
    path("admin/", admin.site.urls),
    path("sync/", include("syncapp.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    # Documents of clients are for those who may see the clients.
    path(
        "media/<path:path>",
        staff_member_required(serve),
        {"document_root": settings.MEDIA_ROOT},
        name="media",
    ),
    *root_urlpatterns,
]
