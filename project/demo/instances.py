"""The two programs of the demo: where they live and what environment they run in."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

BASE_DIR = Path(__file__).resolve().parent.parent.parent
DEMO_DIR = BASE_DIR / "var" / "demo"
CONFIG_DIR = Path(__file__).resolve().parent
DEFAULT_PORTS = (8000, 8001)
# What the shipped configuration of the branch says; replaced by the address that is really used.
WRITTEN_ADDRESS = f"http://127.0.0.1:{DEFAULT_PORTS[0]}"
# Variables that would lead the demo to another database or site than its own.
FOREIGN = ("DATABASE_URL", "REDIS_URL", "MEDIA_ROOT", "ALLOWED_HOSTS", "DEBUG", "PORT", "SYNCAPP_SECRET_KEY")


class DemoError(Exception):
    """The demo can't go on; the text says why and what to do."""


@dataclass(frozen=True)
class Instance:
    """One of the two programs."""

    name: str
    title: str
    port: int
    colour: str

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def folder(self) -> Path:
        """Where its database and files are."""
        return DEMO_DIR / self.name

    def environment(self) -> dict[str, str]:
        """Give the environment it runs in: its own, and a person's language."""
        inherited = {name: value for name, value in os.environ.items() if name not in FOREIGN}
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "PYTHONUNBUFFERED": "1",
            "SYNCAPP_INSTANCE": self.name,
            "SYNCAPP_TITLE": self.title,
            "SYNCAPP_PUBLIC_URL": self.url,
            "DATABASE_URL": f"sqlite:///{self.folder / 'db.sqlite3'}",
            "MEDIA_ROOT": str(self.folder / "media"),
            "SECRET_KEY": kept_secret(self.folder / "secret_key"),
            "LINK_PASSWORD": kept_secret(DEMO_DIR / "link_password"),
        }

    def write_link(self, head_office: "Instance") -> Path:
        """Write the link's configuration with the address that the head office has; give its place."""
        text = (CONFIG_DIR / f"{self.name}.toml").read_text().replace(WRITTEN_ADDRESS, head_office.url)
        path = self.folder / "link.toml"
        path.write_text(text)
        return path


def instances(ports: str) -> tuple[Instance, Instance]:
    """Give head office and branch, on the ports in ``DEMO_PORTS`` ("9000,9001"; empty: the usual ones)."""
    try:
        head, branch = (int(port) for port in ports.split(",")) if ports.strip() else DEFAULT_PORTS
        if not (0 < head < 65536 and 0 < branch < 65536 and head != branch):
            raise ValueError
    except ValueError:
        raise DemoError(
            f"DEMO_PORTS is {ports!r}: give two different ports, e.g. DEMO_PORTS=9000,9001."
        ) from None
    return (
        Instance("head-office", "Head office", head, "cyan"),
        Instance("branch", "Branch", branch, "yellow"),
    )


def kept_secret(path: Path) -> str:
    """Give the secret kept in ``path``; made on first use, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_urlsafe(32))
    return path.read_text()
