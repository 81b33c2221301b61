"""The version of the installed package."""

from __future__ import annotations

from importlib import metadata

NOT_INSTALLED = "not installed"


def installed_version() -> str:
    """Version of recsys-mtl; `NOT_INSTALLED` where it runs from a folder on the path."""
    try:
        return metadata.version("recsys-mtl")
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
