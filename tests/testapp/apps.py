"""The test app."""

from django.apps import AppConfig


class TestAppConfig(AppConfig):
    """Found under the label ``testapp``."""

    name = "tests.testapp"
    default_auto_field = "django.db.models.BigAutoField"
