"""A small CelebA for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vision.fake_celeba import FakeCeleba, write_celeba


@pytest.fixture
def celeba(tmp_path: Path) -> FakeCeleba:
    return write_celeba(tmp_path / "celeba")
