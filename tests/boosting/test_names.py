from __future__ import annotations

import sys

import pytest

from recsys_mtl.boosting import NAMES, default_name, require_installed
from recsys_mtl.errors import UserError


def test_words() -> None:
    pytest.importorskip("lightgbm", reason="the extra lightgbm is not installed")
    assert require_installed(()) == ()
    assert require_installed(["tuned"]) == ("lightgbm", "lightgbm_tuned")
    assert require_installed(["gradient_boosting", "lightgbm_tuned", "tuned"]) == (
        *("gradient_boosting", "lightgbm_tuned", "lightgbm"),
    )
    assert all(require_installed([name]) == (name,) for name in NAMES)
    assert default_name() == "lightgbm"


def test_a_word_that_is_unknown() -> None:
    with pytest.raises(UserError, match=r"--baselines: unknown baseline; .*found ligtgbm -> did"):
        require_installed(["ligtgbm"])


def test_without_lightgbm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    assert default_name() == "gradient_boosting"
    assert require_installed(["gradient_boosting"]) == ("gradient_boosting",)
    line = (
        r"^--baselines tuned: LightGBM does not import; .* -> pip install 'recsys-mtl\[lightgbm\]'"
    )
    with pytest.raises(UserError, match=line):
        require_installed(["tuned"])
