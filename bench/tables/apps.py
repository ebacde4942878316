"""The benchmark's app."""

from django.apps import AppConfig


class TablesConfig(AppConfig):
    name = "bench.tables"
    label = "bench"
