"""The program's settings in an environment of the tests' own: the caller's programs stay untouched."""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

# Each process has its own folder: several runs in one checkout, and pytest-xdist's workers, mustn't meet.
TEST_DIR = Path(tempfile.mkdtemp(prefix="syncapp-test-"))
atexit.register(shutil.rmtree, TEST_DIR, ignore_errors=True)

for name in (
    "DATABASE_URL",
    "REDIS_URL",
    "ALLOWED_HOSTS",
    "SYNCAPP_TITLE",
    "SYNCAPP_PUBLIC_URL",
    "TIME_ZONE",
):
    os.environ.pop(name, None)
os.environ.update(
    {
        "DEBUG": "0",
        "SECRET_KEY": "for-tests-only-and-therefore-not-a-secret-at-all",
        "SYNCAPP_SECRET_KEY": "",
        "SYNCAPP_INSTANCE": "test",
        "MEDIA_ROOT": str(TEST_DIR / "media"),
        "LANGUAGE_CODE": "en",
        "DATABASE_URL": os.environ.get("SYNCAPP_TEST_DATABASE_URL") or f"sqlite:///{TEST_DIR / 'db.sqlite3'}",
    }
)

from project.settings import *  # noqa: E402, F403
from project.settings import DATABASES  # noqa: E402

# A file, not memory: WAL, locks between threads and the file watch are part of what is tested.
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["TEST"] = {"NAME": str(TEST_DIR / "test.sqlite3")}

# Hashing passwords well is slow on purpose; no test is about that.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

# Models of every kind; its tables are made without migrations.
INSTALLED_APPS = [*INSTALLED_APPS, "tests.testapp"]  # noqa: F405
MIGRATION_MODULES = {"testapp": None}
