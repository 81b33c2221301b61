from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.reports.page import Page, Picture, Table
from recsys_mtl.vision.reproduction.images import Images
from recsys_mtl.vision.reproduction.plan import Reproduction
from recsys_mtl.vision.reproduction.report import make_page
from recsys_mtl.vision.reproduction.summary import summarize

pytestmark = pytest.mark.slow  # pictures

Make = Callable[..., Reproduction]
Results = Callable[[Reproduction], list[dict[str, Any]]]
STUDIES: dict[str, Any] = {
    "attention": {},
    "sweep": {
        "temperatures": [0.3, 0.6], "coefficients": [0.1, 0.5], "epochs": 1, "seeds": {"count": 2},
    },
}  # fmt: skip


@pytest.fixture
def page(make: Make, results: Results, images: Images) -> Callable[..., Page]:
    def page(*overrides: str, change: Callable[[Any], None] | None = None, **keys: Any) -> Page:
        plan = make(*overrides, **keys)
        units = results(plan)
        for unit in units if change else ():
            change(unit)
        return make_page(plan, summarize(plan, units), images)

    return page


def texts(page: Page) -> str:
    return "\n".join(part for part in page.parts if isinstance(part, str))


def names(page: Page) -> list[str]:
    return [part.title for part in page.parts if isinstance(part, Table)]


def pictures(page: Page) -> list[str]:
    return [part.name for part in page.parts if isinstance(part, Picture)]


def test_the_head_describes_data_and_runs(page: Callable[..., Page]) -> None:
    text = texts(page())
    assert "3 methods on hand: 300 images to train on, 110 to test, 8 × 8 pixels" in text
    assert "digit 1, rotation 0.8, colour 0.5. 2 seeds × 2 reruns, 2 epochs" in text
    assert "computed on: CPU" in text


def test_whether_the_order_holds_is_one_sentence(page: Callable[..., Page]) -> None:
    assert "pcgrad against sum: better; loss saved +0.1040" in texts(page())
    assert "cagt against sum: better; loss saved +0.2080" in texts(page())
    assert "order of losses holds: it has cagt < pcgrad; here it is cagt < pcgrad" in texts(page())
    turned = texts(page("published.methods.pcgrad.loss=[0.1]"))
    assert "does not hold: it has pcgrad < cagt; here it is cagt < pcgrad (0 of 1 pairs" in turned


def test_every_study_has_its_section(page: Callable[..., Page]) -> None:
    small, large = page("threshold=null"), page(**STUDIES)
    everything = [
        "Loss and cost", "Paired differences", "Accuracy in percent",
        "Test loss of each task, unweighted", "Steps to a loss below 3.9", "Attentions",
        "Adaptive against fixed",
    ]  # fmt: skip
    assert names(small) == everything[:4]
    assert names(large) == everything
    assert pictures(small) == ["train_loss", "conflicts", "predictions"]
    assert pictures(large) == ["train_loss", "sweep", "conflicts", "predictions"]


def test_the_sweep_is_reported_with_its_noise(page: Callable[..., Page]) -> None:
    text = texts(page("published.best=[0.6, 0.2]", **STUDIES))
    assert "best at τ = 0.3, λ = 0.1 (3.0500), worst at τ = 0.6, λ = 0.5 (6.0500)" in text
    assert "a standard deviation of 0.0707. The paper: best τ = 0.6, λ = 0.2." in text


def test_skipped_steps_are_reported(page: Callable[..., Page]) -> None:
    def skip(unit: dict[str, Any]) -> None:
        unit["epochs"][-1]["skipped"] = 2

    assert "no finite answer: sum 8, pcgrad 8, cagt 8." in texts(page(change=skip))
    assert "skipped" not in texts(page())


def test_areas_are_shown_where_they_are_defined(page: Callable[..., Page]) -> None:
    def yes_no(unit: dict[str, Any]) -> None:
        unit["epochs"][-1]["auroc"] = [0.5, 0.75, 1.0]

    assert names(page(change=yes_no))[2] == "Area under the ROC curve"


def test_large_images_have_no_panel(page: Callable[..., Page]) -> None:
    def grow(unit: dict[str, Any]) -> None:
        unit["images"] = [300, 110, 3, 128, 128]

    assert pictures(page(change=grow)) == ["train_loss", "conflicts"]


def test_it_is_written_and_shown(
    page: Callable[..., Page], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = page(**STUDIES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        paths = report.write(tmp_path, "report", markdown=True)
        report.show()
    assert {path.name for path in paths} == {
        *("train_loss.png", "sweep.png", "conflicts.png", "predictions.png"),
        *("report.html", "report.md"),
    }
    shown = capsys.readouterr().out
    assert "0.2957 ± 0.011" in shown
    assert "…" not in shown
    assert "| cagt | 1.0820 ± 0.007 | 0.2525 |" in (tmp_path / "report.md").read_text()
