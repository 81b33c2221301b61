"""The ablation study of docs/results.md: which ways of sharing help, on generated rows.

    python pipelines/ablation_study.py                            # all of it: many hours
    python pipelines/ablation_study.py --question borrow --seeds 3    # one question, in short

Each question is a plan in `configs/ablations`, asked of several kinds of generated rows. Every arm
trains on the same seeds as the arm `off`. The reader gets a table a question, the difference of
every arm to `off` in points with its 95 % interval, and below it the reports, which have all the
rest: `ablations/QUESTION/NAME/report.html`. The same command resumes after the finished runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from recsys_mtl.ablation.ablate import ablate
from recsys_mtl.ablation.plan import load_ablation
from recsys_mtl.cli.script import run_script
from recsys_mtl.reports.cells import with_interval
from recsys_mtl.reports.page import Page, Table

CONFIGS = Path(__file__).parents[1] / "configs" / "ablations"
QUESTIONS = {  # file in configs/ablations -> name of the report -> preset of the rows
    "study": {name: name for name in ("aligned", "neutral", "conflict", "scarce", "bank16")},
    "borrow": {"pairs": "scarce_pairs", "groups": "scarce", "alone": "scarce_alone"},
    "affinity": {"graded": "graded", "bank16": "bank16"},
}


def ablation_study(
    question: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(QUESTIONS)}; repeat; else all")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="pairs; else the plan's")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="of each seed; else the plan's")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="seeds trained at a time")] = None,
    out: Annotated[Path, typer.Option(help="folder of the reports")] = Path("ablations"),
) -> None:
    """Run the plans of configs/ablations; print their differences and where the reports are."""
    for name in question or QUESTIONS:
        if name not in QUESTIONS:
            raise typer.BadParameter(f"{name}: use one of {', '.join(QUESTIONS)}")
    for asked in question or QUESTIONS:
        changes = {"seeds.count": seeds, "synthetic.rows": rows}
        overrides = [f"{key}={value}" for key, value in changes.items() if value is not None]
        results = {}
        for name, preset in QUESTIONS[asked].items():
            chosen = [f"name={name}", f"synthetic.plan={preset}", *overrides]
            ablation = load_ablation(CONFIGS / f"{asked}.yaml", chosen)
            results[name] = ablate(ablation, out / asked / name, processes=processes)
        Page(f"Question {asked}", [_differences(results)]).show()
        print("", *(result["report"] for result in results.values()), sep="\n")


def _differences(results: dict[str, dict[str, Any]]) -> Table:
    """An arm a row, a kind of rows a column."""
    arms = [result["summary"]["arms"] for result in results.values()]
    cells = [[name, *(_difference(by_name[name]) for by_name in arms)] for name in arms[0]]
    level = 100 * next(iter(results.values()))["summary"]["level"]
    return Table(f"Points over 'off' [{level:g} %]", ("arm", *results), cells)


def _difference(arm: dict[str, Any]) -> str:
    overall = arm["overall"]
    return with_interval(overall["mean"], overall["low"], overall["high"], 2) if overall else ""


if __name__ == "__main__":
    sys.exit(run_script(ablation_study))
