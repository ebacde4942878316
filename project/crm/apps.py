"""The CRM as a Django app."""

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class CrmConfig(AppConfig):
    """Clients and what they order."""

    name = "project.crm"
    label = "crm"
    verbose_name = _("Clients and orders")
