from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata

import pytest

from recsys_mtl.reports.output import envelope
from recsys_mtl.version import NOT_INSTALLED, installed_version


def test_the_version_is_that_of_the_metadata() -> None:
    assert installed_version() == metadata.version("recsys-mtl")


def test_results_are_written_where_the_package_is_only_on_the_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    assert envelope("train", started=datetime.now(UTC))["version"] == NOT_INSTALLED
