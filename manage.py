#!/usr/bin/env python
"""Runs the program's commands: ``python manage.py help`` lists them."""

import os
import sys


def main() -> None:
    """Run the command that the arguments name; a wrong environment is one sentence, not a traceback."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        _ = settings.SECRET_KEY
    except ImproperlyConfigured as problem:
        sys.exit(f"manage.py: {problem}")
    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
