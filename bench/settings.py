"""The shipped program with the benchmark's table in it: everything else is as people run it."""

from project.settings import *  # noqa: F403
from project.settings import INSTALLED_APPS, LOGGING

INSTALLED_APPS = [*INSTALLED_APPS, "bench.tables"]
LOGGING = {**LOGGING, "root": {"handlers": ["stderr"], "level": "WARNING"}}
