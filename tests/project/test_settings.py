"""The settings: what the environment decides, and what is refused."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]
PRINT = """
import json, sys
from project import settings
names = json.loads(sys.argv[1])
print(json.dumps({name: getattr(settings, name) for name in names}, default=str))
"""


def run(code: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in an environment that has nothing but what is given."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=ROOT,
        env=keep | environment,
        text=True,
        capture_output=True,
    )


def read(*names: str, **environment: str) -> dict[str, Any]:
    """Give settings as they are in this environment."""
    environment.setdefault("SECRET_KEY", "x")
    environment.setdefault("DATABASE_URL", "sqlite:///:memory:")
    result = run(PRINT, json.dumps(names), **environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_defaults() -> None:
    found = read(
        "SYNCAPP_INSTANCE",
        "SYNCAPP_TITLE",
        "DEBUG",
        "LANGUAGE_CODE",
        "MEDIA_ROOT",
        "CHANNEL_LAYERS",
        "INSTANCE_DIR",
    )
    assert found == {
        "SYNCAPP_INSTANCE": "main",
        "SYNCAPP_TITLE": "Main",
        "DEBUG": False,
        "LANGUAGE_CODE": "en",
        "MEDIA_ROOT": str(ROOT / "var/main/media"),
        "CHANNEL_LAYERS": {"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
        "INSTANCE_DIR": str(ROOT / "var/main"),
    }


def test_sqlite_is_the_instance_s_own_file() -> None:
    database = read("DATABASES", SYNCAPP_INSTANCE="settings-test", DATABASE_URL="")["DATABASES"]["default"]
    (ROOT / "var/settings-test").rmdir()
    assert database["NAME"] == str(ROOT / "var/settings-test/db.sqlite3")
    assert database["OPTIONS"]["transaction_mode"] == "IMMEDIATE"


def test_a_sqlite_address_gets_the_same_options() -> None:
    database = read("DATABASES", DATABASE_URL="sqlite:////tmp/some.sqlite3")["DATABASES"]["default"]
    assert database["NAME"] == "/tmp/some.sqlite3"
    assert database["OPTIONS"]["timeout"] == 20


def _postgresql(query: str = "") -> dict[str, Any]:
    url = f"postgres://me:secret@db.example:5433/crm{query}"
    found: dict[str, Any] = read("DATABASES", DATABASE_URL=url, SYNCAPP_INSTANCE="office")["DATABASES"][
        "default"
    ]
    return found


def test_postgresql_by_its_address() -> None:
    found = _postgresql()
    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert (found["HOST"], found["PORT"], found["NAME"], found["USER"]) == ("db.example", 5433, "crm", "me")
    assert "transaction_mode" not in found["OPTIONS"]
    assert found["OPTIONS"]["application_name"] == "syncapp-office"


def test_postgresql_s_requests_share_a_pool() -> None:
    found = _postgresql()
    assert found["OPTIONS"]["pool"]["max_size"] == 10
    assert found["CONN_MAX_AGE"] == 0
    assert found["CONN_HEALTH_CHECKS"] is True
    assert _postgresql("?pool=25")["OPTIONS"]["pool"]["max_size"] == 25
    assert _postgresql("?pool=off")["OPTIONS"]["pool"] is None


def test_postgresql_may_be_behind_a_pooler() -> None:
    found = _postgresql()
    assert found["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert found["OPTIONS"].get("prepare_threshold") is None


def test_the_address_may_say_more_to_postgresql() -> None:
    options = _postgresql("?sslmode=verify-full&connect_timeout=3")["OPTIONS"]
    assert options["sslmode"] == "verify-full"
    assert options["connect_timeout"] == 3
    assert options["tcp_user_timeout"] == 20_000


def test_redis_by_its_address() -> None:
    layer = read("CHANNEL_LAYERS", REDIS_URL="redis://cache:6379/1", SYNCAPP_INSTANCE="office")[
        "CHANNEL_LAYERS"
    ]["default"]
    assert layer["BACKEND"] == "channels_redis.pubsub.RedisPubSubChannelLayer"
    assert layer["CONFIG"] == {"hosts": ["redis://cache:6379/1"], "prefix": "syncapp-office"}


def test_two_instances_on_one_host_have_cookies_of_their_own() -> None:
    names = ("SESSION_COOKIE_NAME", "CSRF_COOKIE_NAME", "LANGUAGE_COOKIE_NAME")
    first, second = (set(read(*names, SYNCAPP_INSTANCE=name).values()) for name in ("head-office", "branch"))
    assert not first & second


def test_a_public_address_is_trusted_and_makes_cookies_secure() -> None:
    names = ("ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SESSION_COOKIE_SECURE", "SYNCAPP_PUBLIC_URL")
    found = read(*names, SYNCAPP_PUBLIC_URL="https://crm.example.com:8443/")
    assert "crm.example.com" in found["ALLOWED_HOSTS"]
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://crm.example.com:8443"]
    assert found["SESSION_COOKIE_SECURE"] is True
    assert found["SYNCAPP_PUBLIC_URL"] == "https://crm.example.com:8443"


def test_hosts_are_what_the_environment_says() -> None:
    assert read("ALLOWED_HOSTS", ALLOWED_HOSTS="a.example,b.example")["ALLOWED_HOSTS"] == [
        "a.example",
        "b.example",
    ]


def test_no_secret_key_is_one_clear_sentence() -> None:
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    result = subprocess.run(
        [sys.executable, "manage.py", "check"], cwd=ROOT, env=environment, text=True, capture_output=True
    )
    assert result.returncode == 1
    assert result.stderr.startswith("manage.py: SECRET_KEY is not set.")
    assert len(result.stderr.splitlines()) == 1


def test_while_developing_the_key_is_made_and_kept() -> None:
    folder = ROOT / "var" / f"settings-key-{os.getpid()}"
    environment = {"DEBUG": "1", "SECRET_KEY": "", "SYNCAPP_INSTANCE": folder.name}
    try:
        first = read("SECRET_KEY", **environment)["SECRET_KEY"]
        assert len(first) > 50
        assert read("SECRET_KEY", **environment)["SECRET_KEY"] == first
        assert (folder / "secret_key").stat().st_mode & 0o077 == 0
    finally:
        (folder / "secret_key").unlink()
        folder.rmdir()


@pytest.mark.parametrize(
    ("name", "value"), [("SYNCAPP_INSTANCE", "../etc"), ("SYNCAPP_INSTANCE", ""), ("LANGUAGE_CODE", "xx")]
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    result = run(
        "import project.settings", SECRET_KEY="x", DATABASE_URL="sqlite:///:memory:", **{name: value}
    )
    assert result.returncode != 0
    assert f"ImproperlyConfigured: {name} is {value!r}" in result.stderr


def test_a_wrong_pool_is_named() -> None:
    result = run(
        "import project.settings", SECRET_KEY="x", DATABASE_URL="postgres://db.example/crm?pool=many"
    )
    assert result.returncode != 0
    assert "ImproperlyConfigured: DATABASE_URL: pool is 'many'" in result.stderr


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor != "sqlite", reason="about SQLite")
def test_sqlite_survives_a_power_cut() -> None:
    with connection.cursor() as cursor:
        pragmas = ("journal_mode", "synchronous", "foreign_keys")
        found = [cursor.execute(f"PRAGMA {name}").fetchone()[0] for name in pragmas]
    assert found == ["wal", 2, 1]  # 2 is FULL


def test_the_tests_have_a_place_of_their_own() -> None:
    assert settings.SYNCAPP_INSTANCE == "test"
    assert "syncapp-test-" in settings.MEDIA_ROOT
