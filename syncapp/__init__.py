"""Keeps chosen fields of chosen tables equal between independently running Django programs.

Public names; they are imported when first used, since Django loads this package before its apps are ready.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncapp import series as series
    from syncapp import signals as signals
    from syncapp.host import Applying as Applying
    from syncapp.host import applying as applying

__version__ = "0.1.0"

__all__ = ["Applying", "__version__", "applying", "series", "signals"]

#: Public name → the module it is in; a module itself where both are the same.
_PLACES = {"Applying": "host", "applying": "host", "series": "series", "signals": "signals"}


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{place}")
    return module if place == name else getattr(module, name)
