"""The study of entire-space conversion, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import entire_space
from recsys_mtl.cli.script import run_script


@pytest.mark.slow  # trainings
def test_every_arm_is_measured_on_the_same_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--seeds", "2", "--rows", "4000", "--bias", "0.8", "--set", "training.epochs=1"]
    assert run_script(entire_space.entire_space, [*small, "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "result.json").read_text())["measures"]
    assert list(found) == ["0.8"]
    for seed in found["0.8"]:
        assert list(seed) == list(entire_space.ARMS)
        for numbers in seed.values():
            assert tuple(numbers) == entire_space.MEASURES
            assert 0 < numbers["rmse"] < 0.5
            assert numbers["log_loss"] > 0
    assert found["0.8"][0]["ESMM"] != found["0.8"][0]["click only"]
    assert "Points over 'click only'" in capsys.readouterr().out
    (tmp_path / "result.json").write_text('{"job": "train"}')
    assert run_script(entire_space.entire_space, [*small, "--out", str(tmp_path)]) == 2
    assert "what no `entire_space` wrote" in capsys.readouterr().err
