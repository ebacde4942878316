"""Settings of the program, all from the environment; the list with meanings is in ``docs/operations.md``."""

import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from project.database import SQLITE, database

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent

# ---- who this instance is ------------------------------------------------------------------------

SYNCAPP_INSTANCE: str = env.str("SYNCAPP_INSTANCE", default="main")
if not SYNCAPP_INSTANCE.isascii() or not SYNCAPP_INSTANCE.replace("-", "").replace("_", "").isalnum():
    # It names a folder and cookies.
    raise ImproperlyConfigured(
        f"SYNCAPP_INSTANCE is {SYNCAPP_INSTANCE!r}: use Latin letters, digits, '-' and '_' only."
    )
SYNCAPP_TITLE: str = env.str("SYNCAPP_TITLE", default="") or SYNCAPP_INSTANCE.replace("-", " ").capitalize()
# How peers and people reach this instance, e.g. https://crm.example.com; empty: not known.
SYNCAPP_PUBLIC_URL: str = env.str("SYNCAPP_PUBLIC_URL", default="").rstrip("/")
# Encrypts the secrets of links; empty: syncapp derives it from SECRET_KEY.
SYNCAPP_SECRET_KEY: str = env.str("SYNCAPP_SECRET_KEY", default="")

INSTANCE_DIR = BASE_DIR / "var" / SYNCAPP_INSTANCE

# ---- safety --------------------------------------------------------------------------------------

DEBUG: bool = env.bool("DEBUG", default=False)


def _development_key(path: Path) -> str:
    """Give the key kept in ``path``, made on first use, so that sessions outlive a restart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x") as file:
            path.chmod(0o600)
            file.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return path.read_text().strip()


SECRET_KEY: str = env.str("SECRET_KEY", default="")
if not SECRET_KEY:
    if not DEBUG:
        raise ImproperlyConfigured(
            "SECRET_KEY is not set. Set it to a long random text that stays the same "
            "(python -c 'import secrets; print(secrets.token_urlsafe(50))' makes one), "
            "or set DEBUG=1 on a development machine."
        )
    SECRET_KEY = _development_key(INSTANCE_DIR / "secret_key")

_public = urlsplit(SYNCAPP_PUBLIC_URL)
_own_hosts = ["localhost", "127.0.0.1", "[::1]", *([_public.hostname] if _public.hostname else [])]
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", default=_own_hosts)
CSRF_TRUSTED_ORIGINS: list[str] = [f"{_public.scheme}://{_public.netloc}"] if _public.netloc else []

# Browsers don't tell ports apart in cookies: two instances on one host would log each other's people out.
SESSION_COOKIE_NAME = f"sessionid_{SYNCAPP_INSTANCE}"
CSRF_COOKIE_NAME = f"csrftoken_{SYNCAPP_INSTANCE}"
LANGUAGE_COOKIE_NAME = f"language_{SYNCAPP_INSTANCE}"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _public.scheme == "https"

# ---- what it is made of --------------------------------------------------------------------------

INSTALLED_APPS = [
    "project.crm",
    "syncapp",
    "channels",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "project.urls"
ASGI_APPLICATION = "project.asgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "project" / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# ---- database, messages between processes --------------------------------------------------------


def _address() -> dict[str, Any]:
    """Give what ``DATABASE_URL`` says, or the instance's own SQLite file."""
    if env.str("DATABASE_URL", default=""):
        return dict(env.db_url("DATABASE_URL"))
    INSTANCE_DIR.mkdir(parents=True, exist_ok=True)
    return {"ENGINE": SQLITE, "NAME": str(INSTANCE_DIR / "db.sqlite3")}


DATABASES = {"default": database(_address(), SYNCAPP_INSTANCE)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL: str = env.str("REDIS_URL", default="")
CHANNEL_LAYERS: dict[str, dict[str, Any]] = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        # Instances may share one Redis server.
        "CONFIG": {"hosts": [REDIS_URL], "prefix": f"syncapp-{SYNCAPP_INSTANCE}"},
    }
    if REDIS_URL
    else {"BACKEND": "channels.layers.InMemoryChannelLayer"}
}

# ---- people --------------------------------------------------------------------------------------

LOGIN_URL = "admin:login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

LANGUAGE_CODE: str = env.str("LANGUAGE_CODE", default="en")
LANGUAGES = [("en", _("English")), ("ru", _("Russian"))]
if LANGUAGE_CODE not in dict(LANGUAGES):
    raise ImproperlyConfigured(
        f"LANGUAGE_CODE is {LANGUAGE_CODE!r}: use one of {', '.join(dict(LANGUAGES))}."
    )
LOCALE_PATHS = [BASE_DIR / "project" / "locale"]
USE_I18N = True
USE_TZ = True
TIME_ZONE: str = env.str("TIME_ZONE", default="UTC")

# ---- files ---------------------------------------------------------------------------------------

STATIC_URL = "/static/"
# Served from where the apps keep them, so that a program runs without `collectstatic`.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG

MEDIA_URL = "/media/"
MEDIA_ROOT: str = env.str("MEDIA_ROOT", default="") or str(INSTANCE_DIR / "media")

# ---- log -----------------------------------------------------------------------------------------

LOG_LEVEL: str = env.str("LOG_LEVEL", default="INFO").upper()
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "line": {"format": "{asctime} {levelname:<7} {name}: {message}", "style": "{"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "syncapp": {"level": LOG_LEVEL},
        "project": {"level": LOG_LEVEL},
        "django": {"handlers": [], "level": "INFO"},
        # One line per request is the proxy's business, and a peer's polling would drown everything else.
        "django.channels.server": {"level": "WARNING"},
        "daphne": {"level": "WARNING"},
    },
}
