from __future__ import annotations

import sys
from pathlib import Path

import pytest

from recsys_mtl.serving.fresh_process import OnlyLaterPaths


def test_the_package_is_imported_only_from_later_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, str(Path(__file__).parents[2])])
    finder = OnlyLaterPaths()
    with pytest.raises(ModuleNotFoundError, match="recsys_mtl"):
        finder.find_spec("recsys_mtl", None)
    (tmp_path / "recsys_mtl").mkdir()
    (tmp_path / "recsys_mtl" / "__init__.py").write_text("")
    sys.path.insert(0, str(tmp_path))
    spec = finder.find_spec("recsys_mtl", None)
    assert spec is not None
    assert spec.origin == str(tmp_path / "recsys_mtl" / "__init__.py")


def test_other_modules_are_left_to_others() -> None:
    assert OnlyLaterPaths().find_spec("json", None) is None
