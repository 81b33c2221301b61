"""A night's exit codes, lines and resumption, with the library's calls faked."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipelines import nightly as flow
from recsys_mtl.cli.script import run_script
from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.reports.page import Page
from recsys_mtl.reports.report import Report
from recsys_mtl.scoring.folder import notes_folder

Night = Callable[..., int]
DRIFTS = [
    {"part": "feature", "name": "age", "psi": 0.3, "reading": "large"},
    {"part": "score", "name": "item", "psi": 0.4, "reading": "by chance"},
    {"part": "feature", "name": "city", "psi": None, "reading": "no rows"},
]


class Shop:
    """The registry, and what the library does: `calls` in their order, `fails` one of them."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.passes, self.drifts, self.fails = True, [dict[str, Any]()][:0], ""
        self.tags: dict[int, dict[str, str]] = {}
        self.champion: int | None = None

    def call(self, name: str) -> None:
        self.calls.append(name)
        if name == self.fails:
            raise KeyboardInterrupt

    def train(self, config: Any, out: Path) -> dict[str, Any]:
        self.call("train")
        return {
            "interrupted": False,
            "data": {"rows": {"train": 1000}},
            "training": {"seconds": 2.4},
            "mlflow": {"run_id": f"run-{len(self.tags) + 1}"},
        }

    def register(self, run: str, *, name: str, tracking_uri: str) -> Report:
        self.tags[len(self.tags) + 1] = {}
        self.call("register")
        return Report(Page("card", []), {"number": len(self.tags)})

    def promote(self, registry: Any, gate: Any, request: Any) -> Report:
        number = int(request.challenger)
        word, reason = ("promoted", "better") if self.passes else ("rejected", "worse")
        self.tags[number] = {
            "decision": word,
            "decision_reason": reason,
            "decision_against": str(self.champion or "none"),
        }
        self.call("tags")
        self.champion = number if self.passes else self.champion
        self.call("promote")
        return Report(Page("decision", ["a text"]), {})

    def predict(self, model: str, *, input: str, output: Path) -> dict[str, Any]:
        output.mkdir(exist_ok=True)
        self.call(f"score {input} by {model}")
        atomic_write(notes_folder(output) / "drift.json", json.dumps({"drift": self.drifts}))
        return {"rows": 50}

    def registry(self, uri: str | None) -> Any:
        def alias(name: str, alias: str) -> Any:
            return None if self.champion is None else SimpleNamespace(number=self.champion)

        def versions(name: str) -> list[Any]:
            return [SimpleNamespace(number=n, run_id=f"run-{n}") for n in self.tags]

        def resolve(model: str, *, where: str) -> Any:
            return SimpleNamespace(tags=self.tags[int(model.rpartition("/")[2])])

        return SimpleNamespace(
            uri=uri, alias=alias, versions=versions, resolve=resolve, names=lambda: ["shop"]
        )


@pytest.fixture
def shop(monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop without a champion."""
    shop = Shop()
    for name in ("train", "register", "promote", "predict"):
        monkeypatch.setattr(flow, name, getattr(shop, name))
    monkeypatch.setattr(flow, "Registry", shop.registry)
    monkeypatch.setattr(flow, "find_model", lambda _, *, model, tracking_uri: model)
    return shop


@pytest.fixture
def night(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    shared_toy: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Night:
    """The program, in the test's folder."""
    monkeypatch.chdir(tmp_path_factory.mktemp("rows"))
    Path("today").touch()

    def night(name: str = "one", *options: str) -> int:
        arguments = [
            *(str(shared_toy.folder / "toy.yaml"), "--model", "shop", "--rows", "today"),
            *("--set", "tracking.enabled=true", "--out", str(tmp_path), "--night", name, *options),
        ]
        return run_script(flow.nightly, arguments)

    return night


def test_a_night(
    shop: Shop, night: Night, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert night() == 0
    score = "score today by models:/shop/1"
    assert shop.calls == ["train", "register", "tags", "promote", score]
    assert capsys.readouterr().out.splitlines() == [
        "train: 1,000 rows in 2 s",
        "register: version 1 of shop",
        "promote: promoted: better",
        "score: 50 rows by models:/shop/1",
    ]
    assert (tmp_path / "one/promotion/report.md").read_text() == "# decision\n\na text\n"


def test_who_is_rejected_leaves_the_scoring_to_the_champion(shop: Shop, night: Night) -> None:
    assert night() == 0
    shop.passes = False
    assert night("two") == 3
    assert shop.calls[-1] == "score today by models:/shop/1"


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        ((), 4, "; drifted: feature age"),
        (("--drift", "0.1"), 4, "; drifted: feature age"),
        (("--drift", "0.3"), 0, ""),
    ],
)
def test_drift_alarms_above_the_threshold(
    shop: Shop,
    night: Night,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    line: str,
) -> None:
    shop.drifts = DRIFTS
    assert night("one", *options) == code
    assert capsys.readouterr().out.endswith(f"score: 50 rows by models:/shop/1{line}\n")


@pytest.mark.parametrize("step", ["train", "register", "promote", "score today by models:/shop/1"])
def test_a_killed_night_is_resumed(
    shop: Shop, night: Night, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    """Also where a version was registered or promoted, and the night did not come to note it."""
    shop.fails = step
    assert night() == 130
    assert capsys.readouterr().err == "error: interrupted\n"
    before, shop.fails = len(shop.calls), ""
    assert night() == 0
    assert len(shop.tags) == 1
    done_before = shop.calls[: before - (step not in ("register", "promote"))]
    assert {*done_before} & {*shop.calls[before:]} == set()
    assert capsys.readouterr().out.count("\n") == 4
    calls = len(shop.calls)
    assert night() == 0
    assert len(shop.calls) == calls


def test_a_promotion_that_was_killed_before_its_aliases_is_made_again(
    shop: Shop, night: Night
) -> None:
    for number, name in enumerate(("one", "two"), 1):  # without a champion, and with one
        shop.fails = "tags"
        assert night(name) == 130
        assert shop.tags[number]["decision"] == "promoted"
        shop.fails = ""
        assert night(name) == 0
        assert shop.champion == number
        assert shop.calls[-1] == f"score today by models:/shop/{number}"


@pytest.mark.parametrize("options", [("--model", "books"), ("--set", "training.epochs=3")])
def test_a_night_of_something_else_is_refused(
    shop: Shop, night: Night, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert night() == 0
    calls = len(shop.calls)
    assert night("one", *options) == 2
    assert "the folder holds the steps of another job" in capsys.readouterr().err
    assert len(shop.calls) == calls


def test_an_interrupted_training_is_no_step(
    shop: Shop, night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = shop.train
    monkeypatch.setattr(flow, "train", lambda *args: train(*args) | {"interrupted": True})
    assert night() == 130
    assert shop.calls == ["train"]


def test_a_mistake_is_one_line(
    shop: Shop, night: Night, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def away(uri: str | None) -> Any:
        raise wrong("the server is away", where="tracking.uri")

    monkeypatch.setattr(flow, "Registry", away)
    assert night() == 2
    assert capsys.readouterr().err == "error: tracking.uri: the server is away\n"
    assert night("two", "--set", "training.epoch=3") == 2
    assert "training.epoch" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--rows", "nowhere"), "--rows: no such file or folder"),
        (("--labelled", "nowhere"), "--labelled: no such file or folder"),
        (("--model", "sh/op"), "--model: not a name for a registered model"),
        (("--drift", "nan"), "--drift: no PSI"),
        (("--set", "tracking.enabled=false"), "tracking.enabled: a night's training is registered"),
    ],
)
def test_what_a_later_step_would_refuse_costs_no_training(
    shop: Shop,
    night: Night,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    line: str,
) -> None:
    assert night("one", *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")
    assert shop.calls == []
    assert night() == 0


def test_a_night_is_named_after_its_day(shop: Shop, night: Night, tmp_path: Path) -> None:
    assert night("") == 0
    assert [path.name for path in tmp_path.iterdir()] == [str(date.today())]
