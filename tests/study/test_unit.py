from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.study.unit import Unit, UnitResult, missing, store, stored


@dataclass(frozen=True)
class Run(Unit):
    key: str
    seed: int = 3
    rerun: int = 0
    rate: float = 0.5

    @property
    def identity(self) -> Mapping[str, str | int]:
        return {"key": self.key, "seed": self.seed, "rerun": self.rerun}

    def same_settings(self, result: UnitResult) -> bool:
        return bool(result["rate"] == self.rate)


def test_its_file_and_its_name() -> None:
    assert Run("k").path(Path("out")) == Path("out/units/k/seed-3-rerun-0.json")
    assert Run("k").label == "k, seed 3, rerun 0"


def test_a_result_is_strict_json_behind_its_identity(tmp_path: Path) -> None:
    numbers = {"rate": 0.5, "bad": float("nan"), "pair": (1, np.float32(0.5)), "m": np.eye(2)}
    result = store(Run("k"), numbers, tmp_path)
    text = Run("k").path(tmp_path).read_text()
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=pytest.fail) == result
    assert [*result] == ["key", "seed", "rerun", "rate", "bad", "pair", "m"]
    assert result["bad"] is None
    assert result["m"] == [[1, 0], [0, 1]]


def test_stored_and_missing_ones_keep_their_order(tmp_path: Path) -> None:
    units = [Run("b"), Run("a", seed=4), Run("a")]
    for unit in units[::2]:
        store(unit, {"rate": 0.5}, tmp_path)
    assert missing(units, tmp_path) == [units[1]]
    assert [unit for unit, _ in stored(units, tmp_path)] == units[::2]


@pytest.mark.parametrize(
    ("content", "held"),
    [
        ({"key": "k", "seed": 4, "rerun": 0, "rate": 0.5}, "key k, seed 4, rerun 0"),
        ({"key": "k", "seed": 3, "rerun": 0, "rate": 0.1}, "key k, seed 3, rerun 0"),
        ({"key": "k"}, "KeyError('seed')"),
        ([], "TypeError"),
    ],
)
def test_another_result_is_refused(tmp_path: Path, content: object, held: str) -> None:
    path = Run("k").path(tmp_path)
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError) as caught:
        stored([Run("k")], tmp_path)
    line = str(caught.value)
    assert line.startswith(f"{path}: not the result of that run; expected key k, seed 3, rerun 0")
    assert f"found {held}" in line
    assert line.endswith("delete it, and run the same command again")
