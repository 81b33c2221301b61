"""The engine on a study whose trainings are sums."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_mtl.cli.command import show_page
from recsys_mtl.config.schema import TrackingConfig
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.reports.page import Page
from recsys_mtl.study import run as engine
from recsys_mtl.study.run import Outcome, Study, run_study
from recsys_mtl.study.unit import Unit, UnitResult
from recsys_mtl.tracking.run import NullRun

Document = dict[str, Any]


@dataclass(frozen=True)
class Sum(Unit):
    term: str
    seed: int

    @property
    def identity(self) -> Mapping[str, str | int]:
        return asdict(self)


@dataclass(frozen=True)
class Total:
    values: np.ndarray
    mean: float


@contextmanager
def adder(
    fails: str, batch: Sequence[Sum], out: Path, *, threads: int | None
) -> Iterator[Callable[[Sum], Document]]:
    with (out / "opened").open("a") as file:
        file.write(f"{[unit.label for unit in batch]}, threads {threads}\n")

    def train(unit: Sum) -> Document:
        if unit.label == fails:
            raise KeyboardInterrupt
        return {"value": unit.seed + len(unit.term), "config_hash": "0" * 16, "pid": os.getpid()}

    yield train


def report(results: Sequence[UnitResult]) -> Outcome:
    values = np.array([result["value"] for result in results])
    mean = float("nan") if len(values) < 6 else values.mean()
    return Outcome(Total(values, mean), {"mean": mean}, Page("Sums", [f"{values.sum()}"]))


def pairs(missing: Sequence[Sum]) -> list[list[Sum]]:
    """A batch a seed."""
    seeds = dict.fromkeys(unit.seed for unit in missing)
    return [[unit for unit in missing if unit.seed == seed] for seed in seeds]


def sums(*terms: str, fails: str = "", **options: Any) -> Study[Sum]:
    return Study(
        job="add",
        name="sums",
        tracking=TrackingConfig(enabled=False),
        params={"terms": {"count": len(terms)}},
        units=[Sum(term, seed) for seed in (1, 2) for term in terms],
        batches=pairs,
        trainer=partial(adder, fails),
        report=report,
        **options,
    )


def add(study: Study[Sum], out: Path, processes: int = 1) -> Document:
    return run_study(study, out, started=datetime.now(UTC), processes=processes, show=show_page)


def opened(out: Path) -> list[str]:
    return (out / "opened").read_text().splitlines()


def test_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = add(sums("a", "bb"), tmp_path)
    units = {str(path.relative_to(tmp_path)) for path in (tmp_path / "units").rglob("*.json")}
    assert units == {f"units/{term}/seed-{seed}.json" for term in ("a", "bb") for seed in (1, 2)}
    assert (tmp_path / "report.md").read_text() == "# Sums\n\n12\n"
    stored = json.loads((tmp_path / "result.json").read_text(), parse_constant=pytest.fail)
    assert stored == result | {"report": str(tmp_path / "report.md")}
    assert (stored["job"], stored["name"]) == ("add", "sums")
    assert stored["summary"] == {"values": [2, 3, 3, 4], "mean": None}
    assert opened(tmp_path) == ["['a, seed 1', 'bb, seed 1'], threads None",
                                "['a, seed 2', 'bb, seed 2'], threads None"]  # fmt: skip
    shown = capsys.readouterr().out
    assert shown == f"Sums\n12\n\n{tmp_path}/report.html\n{tmp_path}/report.md\n"


def test_only_what_is_missing_is_trained(tmp_path: Path) -> None:
    add(sums("a", "bb"), tmp_path)
    before = (tmp_path / "units" / "a" / "seed-2.json").stat().st_mtime_ns
    (tmp_path / "units" / "bb" / "seed-2.json").unlink()
    assert add(sums("a", "bb", "c"), tmp_path)["summary"]["values"] == [2, 3, 2, 3, 4, 3]
    assert (tmp_path / "units" / "a" / "seed-2.json").stat().st_mtime_ns == before
    assert opened(tmp_path)[2:] == ["['c, seed 1'], threads None",
                                    "['bb, seed 2', 'c, seed 2'], threads None"]  # fmt: skip
    add(sums("a", "bb", "c"), tmp_path)
    assert len(opened(tmp_path)) == 4


def test_an_interrupt_keeps_what_is_finished(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.WARNING):
        add(sums("a", "bb", fails="bb, seed 1"), tmp_path)
    assert caplog.messages == ["the same command resumes after the runs that are finished"]
    assert [path.name for path in (tmp_path / "units").rglob("*.json")] == ["seed-1.json"]
    assert not (tmp_path / "result.json").exists()


@pytest.mark.slow  # processes
def test_workers_give_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    expected = add(sums("a", "bb"), one)["summary"]
    assert add(sums("a", "bb"), two, processes=2)["summary"] == expected
    pids = {json.loads(path.read_text())["pid"] for path in (two / "units").rglob("*.json")}
    assert os.getpid() not in pids


def test_results_are_checked_before_and_after(tmp_path: Path) -> None:
    seen: list[int] = []

    def check(results: Sequence[UnitResult]) -> None:
        seen.append(len(results))
        if len(results) > 2:
            raise wrong("too many")

    add(sums("a", check=check), tmp_path)
    assert seen == [0, 2]
    with pytest.raises(UserError, match="too many"):
        add(sums("a", "b", check=check), tmp_path)


class Recorded(NullRun):
    """A run that remembers, and fails for one name."""

    def __init__(self, name: str, tags: Mapping[str, str]) -> None:
        self.id = name  # type: ignore[assignment]
        self.name, self.tags_, self.values = name, tags, dict[str, object]()

    def params(self, values: Mapping[str, object]) -> None:
        self.values |= values

    def metrics(self, values: Mapping[str, float | None], step: int) -> None:
        self.values |= values


def test_a_unit_is_a_nested_run_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    runs: list[Recorded] = []

    def open_run(
        enabled: bool, uri: object, experiment: str, name: str, tags: Mapping[str, str], **_: object
    ) -> Recorded:
        if name == "a, seed 2":
            raise wrong("the server is away")
        runs.append(Recorded(name, tags))
        return runs[-1]

    monkeypatch.setattr(engine, "open_run", open_run)
    add(sums("a"), tmp_path)
    assert [(run.name, run.tags_) for run in runs] == [("sums", {"job": "add"})]
    assert runs[0].values["terms.count"] == 1
    runs.clear()
    shows = {"tracked": lambda result: {"value": result["value"]}, "settings": lambda _: {"x.y": 3}}
    add(sums("a", **shows), tmp_path)
    _, nested = runs
    assert nested.name == "a, seed 1"
    assert nested.tags_ == {"mlflow.parentRunId": "sums", "term": "a", "config_hash": "0" * 16}
    assert nested.values == {"term": "a", "seed": 1, "value": 2, "x.y": 3}
    assert caplog.messages == ["a, seed 2 is not tracked: the server is away"]
