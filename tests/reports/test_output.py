from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.reports.output import envelope, prepare_out, write_result


def test_a_result_is_strict_json_in_its_envelope(tmp_path: Path) -> None:
    head = envelope("train", started=datetime.now(UTC) - timedelta(days=1), config_hash="abc")
    body = {
        "auc": np.float64(0.5),
        "bad": float("nan"),
        "big": [float("inf"), np.int64(3), np.float32("nan")],
        "path": tmp_path,
        1: True,
    }
    path = write_result(tmp_path, head | body)
    read = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert path == tmp_path / "result.json"
    assert list(read)[:5] == ["job", "version", "started", "seconds", "config_hash"]
    assert read["job"] == "train"
    assert datetime.fromisoformat(read["started"]).tzinfo is not None
    assert 1 <= read["seconds"] / 86_400 < 2
    assert read["auc"] == 0.5
    assert read["bad"] is None
    assert read["big"] == [None, 3, None]
    assert read["path"] == str(tmp_path)
    assert read["1"] is True


def test_a_result_that_is_no_json_leaves_the_old_one(tmp_path: Path) -> None:
    write_result(tmp_path, {"a": 1})
    with pytest.raises(TypeError):
        write_result(tmp_path, {"a": object()})
    assert json.loads((tmp_path / "result.json").read_text()) == {"a": 1}
    assert len(list(tmp_path.iterdir())) == 1


def test_prepare_out(tmp_path: Path) -> None:
    assert prepare_out(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []  # wrong input later leaves nothing
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "under"):
        with pytest.raises(UserError, match="cannot write to the output folder") as caught:
            prepare_out(out)
        assert str(out) in str(caught.value)
        assert "--out" in str(caught.value)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"result.json": '{"job": "train"}'}, "result.json.*found the result of `train`"),
        ({"result.json": "{"}, "result.json.*found another file"),
        ({"result.json": "[" * 100_000}, "result.json.*found another file"),
        ({"result.json": None}, "result.json.*found a folder"),
        ({"page.md": "mine"}, "page.md.*found another file"),
        ({"page.md": None}, "page.md.*found a folder"),
        ({"result.json": '{"job": "train"}', "page.md": "mine"}, "result.json"),
    ],
)
def test_a_job_replaces_its_own_results_alone(
    tmp_path: Path, files: dict[str, str | None], found: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).mkdir() if content is None else (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match="what no `compare` wrote") as caught:
        prepare_out(tmp_path, "compare", ("page.md",))
    assert re.search(found, str(caught.value))
    assert {path.name for path in tmp_path.iterdir()} == set(files)


def test_a_job_replaces_what_it_wrote_before(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("old")
    write_result(tmp_path, {"job": "compare"})
    assert prepare_out(tmp_path, "compare", ("page.md",)) == tmp_path
