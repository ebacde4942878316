"""Settings and secrets."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import override_settings

from syncapp import conf


def test_defaults() -> None:
    with override_settings(SYNCAPP_INSTANCE=None, SYNCAPP_TITLE=None):
        settings = conf.current()
    assert settings.clock_warn == 2_000_000
    assert settings.clock_refuse == 300_000_000
    assert (settings.max_message, settings.window) == (64 * 1024**2, 4 * 1024**2)
    assert (settings.log_days, settings.log_rows) == (30, 100_000)
    assert settings.tables == ()


def test_from_django_settings() -> None:
    with override_settings(
        SYNCAPP_TABLES=["shop.*", " !shop.Secret "],
        SYNCAPP_TITLE="Head office",
        SYNCAPP_PUBLIC_URL="https://office.example.com/",
        SYNCAPP_CLOCK_WARN=0.5,
        SYNCAPP_LOG_ROWS=10,
    ):
        settings = conf.current()
    assert settings.tables == ("shop.*", "!shop.Secret")
    assert (settings.title, settings.public_url) == ("Head office", "https://office.example.com")
    assert (settings.clock_warn, settings.log_rows) == (500_000, 10)


def test_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCAPP_TABLES", "shop.*, !shop.Secret,")
    monkeypatch.setenv("SYNCAPP_LOG_DAYS", "7")
    monkeypatch.setenv("SYNCAPP_TITLE", "from the environment")
    settings = conf.current()
    assert settings.tables == ("shop.*", "!shop.Secret")
    assert settings.log_days == 7
    # Django's settings come first.
    with override_settings(SYNCAPP_TITLE="from the settings"):
        assert conf.current().title == "from the settings"


@pytest.mark.parametrize(
    "wrong",
    [
        {"SYNCAPP_LOG_DAYS": "many"},
        {"SYNCAPP_LOG_DAYS": 0},
        {"SYNCAPP_WINDOW": -1},
        {"SYNCAPP_CLOCK_WARN": float("nan")},
        {"SYNCAPP_CLOCK_WARN": float("inf")},
        {"SYNCAPP_TABLES": 5},
        {"SYNCAPP_TABLES": [5]},
        {"SYNCAPP_TITLE": 5},
    ],
)
def test_a_value_that_makes_no_sense_names_the_setting(wrong: dict[str, object]) -> None:
    with override_settings(**wrong), pytest.raises(ImproperlyConfigured, match=next(iter(wrong))):
        conf.current()


def test_the_secret_key_is_not_shown() -> None:
    with override_settings(SYNCAPP_SECRET_KEY="open sesame"):
        assert conf.current().secret_key == "open sesame"
        assert "sesame" not in repr(conf.current())


def test_secrets_survive_a_round_trip() -> None:
    for text in ("swordfish", "пароль", "", "x" * 1000):
        token = conf.encrypt(text)
        assert conf.decrypt(token) == text
        assert text == "" or text not in token
    assert conf.encrypt("same") != conf.encrypt("same")


def test_another_key_reads_nothing() -> None:
    token = conf.encrypt("swordfish")
    with override_settings(SYNCAPP_SECRET_KEY="another"), pytest.raises(ValueError, match="not a secret"):
        conf.decrypt(token)


@pytest.mark.parametrize("token", ["", "x", "gAAAAA", "ключ"])
def test_a_damaged_token(token: str) -> None:
    with pytest.raises(ValueError, match="not a secret"):
        conf.decrypt(token)


def test_a_key_of_its_own_outlives_a_new_django_key() -> None:
    with override_settings(SYNCAPP_SECRET_KEY="own"):
        token = conf.encrypt("swordfish")
        with override_settings(SECRET_KEY="a new one"):
            assert conf.decrypt(token) == "swordfish"
    derived = conf.encrypt("swordfish")
    with override_settings(SECRET_KEY="a new one"), pytest.raises(ValueError, match="not a secret"):
        conf.decrypt(derived)
