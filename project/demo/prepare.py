"""Makes one instance of the demo ready: tables, demo data, the user ``admin``, the link.

Run by :mod:`project.demo` with the instance's environment. Running it again changes nothing that people
changed.
"""

import argparse
from io import StringIO
from pathlib import Path

import django
from django.core.management import call_command


def ensure_admin() -> None:
    """Make the user ``admin`` with the password ``admin``, unless there is one."""
    from django.contrib.auth.models import User

    if not User.objects.filter(username="admin").exists():
        User.objects.create_superuser("admin", "admin@example.com", "admin")


def apply_link(link: Path, applied: Path) -> None:
    """Apply the link's configuration if it isn't the one applied last.

    What people changed in the panel since stays, unless the demo itself moved to other ports.
    """
    text = link.read_text()
    if applied.exists() and applied.read_text() == text:
        return
    said = StringIO()
    call_command("syncconfig", "apply", str(link), stdout=said)
    first, *rest = said.getvalue().splitlines() or [""]
    print(f"{first} {len(rest)} tables and fields mapped.")
    applied.write_text(text)


def main() -> None:
    """Do it all, in the order in which one thing needs the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("link", type=Path, help="the link's configuration")
    arguments = parser.parse_args()
    django.setup()
    call_command("migrate", verbosity=0)
    ensure_admin()
    apply_link(arguments.link, arguments.link.with_suffix(".applied.toml"))
    # After the link, which then has seen the rows come: both programs recognise each other's, and can delete them.
    call_command("demodata", "--if-empty")


if __name__ == "__main__":
    main()
