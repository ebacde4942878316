"""Keeps chosen fields of chosen tables equal between independently running Django programs.

Public names; they are imported when first used, since Django loads this package before its apps are ready.
"""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
