"""The ablation studies of docs/results.md: which ways of sharing help, on generated and real rows.

    python pipelines/ablation_study.py --question study                   # generated rows: hours
    python pipelines/ablation_study.py --question borrow --seeds 3        # in short
    python pipelines/ablation_study.py --question real --data FOLDER --kuairand OUT
    python pipelines/ablation_study.py --question labels --data FOLDER

FOLDER holds the public tables that `configs/tables` describe, OUT is of pipelines/kuairand.py.

Each question is a plan in `configs/ablations`, asked of several kinds of rows. Every arm trains on
the same seeds as its reference. The reader gets a table a question, the difference of every arm to
the reference in points with its interval, and below it the reports, which have all the rest:
`ablations/QUESTION/NAME/report.html`. The same command resumes after the finished runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from scipy.stats import rankdata, studentized_range

from recsys_mtl.ablation.ablate import ablate
from recsys_mtl.ablation.plan import Ablation, load_ablation
from recsys_mtl.cli.script import run_script
from recsys_mtl.reports.cells import with_interval
from recsys_mtl.reports.page import Page, Table

CONFIGS = Path(__file__).parents[1] / "configs"
Results = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Rows:
    """What a question is asked of.

    Attributes:
        plan: file in configs/ablations.
        overrides: of the plan, `key=value`.
        change: of the config, for all arms.
        task: whose differences the table shows; the mean over tasks if empty.
    """

    plan: str
    overrides: tuple[str, ...] = ()
    change: Mapping[str, Any] = field(default_factory=dict)
    task: str = ""

    def ablation(self, name: str, overrides: list[str]) -> Ablation:
        """The plan with its changes."""
        plan = CONFIGS / "ablations" / self.plan
        ablation = load_ablation(plan, [f"name={name}", *self.overrides, *overrides])
        kept = {k: v for k, v in ablation.change.items() if not k.endswith(".label_share")}
        return ablation.model_copy(update={"change": {**kept, **self.change}})


def _base(file: str) -> tuple[str, ...]:
    return (f"base={CONFIGS / file}",)


def _generated(plan: str, presets: Mapping[str, str]) -> dict[str, Rows]:
    return {name: Rows(plan, (f"synthetic.plan={preset}",)) for name, preset in presets.items()}


TABLES = ("bank", "adult", "bank_churn", "hillstrom")
SHARED = {"bank": "subscribe", "adult": "income", "bank_churn": "churn", "hillstrom": "visit"}
SHARES = (0.01, 0.03, 0.1, 0.3, 1.0)
KINDS = ("aligned", "neutral", "conflict", "scarce", "bank16")
QUESTIONS: dict[str, dict[str, Rows]] = {
    "study": _generated("study.yaml", {kind: kind for kind in KINDS}),
    "borrow": _generated(
        "borrow.yaml", {"pairs": "scarce_pairs", "groups": "scarce", "alone": "scarce_alone"}
    ),
    "affinity": _generated("affinity.yaml", {"graded": "graded", "bank16": "bank16"}),
    "real": {"kuairand": Rows("kuairand.yaml", _base("kuairand.yaml"))}
    | {name: Rows("tables.yaml", _base(f"tables/{name}.yaml")) for name in TABLES},
    "labels": {
        f"{name}_{task}_{share:g}": Rows(
            "labels.yaml", _base(f"tables/{name}.yaml"), {f"tasks.{task}.label_share": share}, task
        )
        for name, task in SHARED.items()
        for share in SHARES
    },
}
_REAL = ("real", "labels")


def ablation_study(
    question: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(QUESTIONS)}; repeat; else generated rows")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="kinds of rows; repeat; else all")] = None,
    data: Annotated[str | None, typer.Option(help="folder of the public tables")] = None,
    kuairand: Annotated[str | None, typer.Option(help="folder of pipelines/kuairand.py")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="pairs; else the plan's")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="of each seed; else the plan's")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="seeds trained at a time")] = None,
    out: Annotated[Path, typer.Option(help="folder of the reports")] = Path("ablations"),
) -> None:
    """Run the plans of configs/ablations; print their differences and where the reports are."""
    questions = question or [name for name in QUESTIONS if name not in _REAL]
    for name in questions:
        if name not in QUESTIONS:
            raise typer.BadParameter(f"{name}: use one of {', '.join(QUESTIONS)}")
    for asked in questions:
        results: dict[str, Mapping[str, Any]] = {}
        for name, kind in QUESTIONS[asked].items():
            if only and name not in only:
                continue
            changes = {"seeds.count": seeds}
            if asked not in _REAL:
                changes["synthetic.rows"] = rows
            overrides = [f"{key}={value}" for key, value in changes.items() if value is not None]
            root = kuairand if name == "kuairand" else data
            if asked in _REAL and root is not None:
                os.environ["RECSYS_MTL_DATA"] = root
            ablation = kind.ablation(name, overrides)
            results[name] = ablate(ablation, out / asked / name, processes=processes)
        if not results:
            raise typer.BadParameter(f"{only}: use of {', '.join(QUESTIONS[asked])}")
        tables = [_differences(results, QUESTIONS[asked])]
        if asked == "real" and len(results) > 1:
            tables.append(_ranks(results))
        Page(f"Question {asked}", tables).show()
        print("", *(result["report"] for result in results.values()), sep="\n")


def _differences(results: Results, kinds: Mapping[str, Rows]) -> Table:
    """A kind of rows a row, an arm a column, where there are more kinds; else the other way."""
    arms = list(dict.fromkeys(arm for one in results.values() for arm in one["summary"]["arms"]))
    cells = [
        [arm, *(_difference(one["summary"]["arms"].get(arm), kinds[name].task)
                for name, one in results.items())]
        for arm in arms
    ]  # fmt: skip
    columns = ("arm", *results)
    if len(results) > len(arms):
        turned = zip(*cells, strict=True)
        columns, cells = (
            ("rows", *next(turned)),
            [[name, *row] for name, row in zip(results, turned, strict=True)],
        )
    summary = next(iter(results.values()))["summary"]
    level = f"{100 * summary['level']:g} %"
    return Table(f"Points over '{summary['reference']}' [{level}]", columns, cells)


def _difference(arm: dict[str, Any] | None, task: str) -> str:
    if arm is None or arm["overall"] is None:
        return ""
    one = arm["tasks"][task] if task else arm["overall"]
    return with_interval(one["mean"], one["low"], one["high"], 2)


def _ranks(results: Results) -> Table:
    """Mean rank of the arms over data sets, and the difference of ranks that is distinguished.

    Nemenyi's critical difference at 5 %, as in Demšar, "Statistical comparisons of classifiers over
    multiple data sets", JMLR 7 (2006).
    """
    of_sets = [result["summary"]["arms"] for result in results.values()]
    arms = [arm for arm in of_sets[0] if all(arm in one for one in of_sets)]
    means = [[one[arm]["overall"]["mean"] if one[arm]["overall"] else 0.0 for arm in arms]
             for one in of_sets]  # fmt: skip
    ranks = np.mean([rankdata([-mean for mean in row]) for row in means], axis=0)
    k, n = len(arms), len(of_sets)
    quantile = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    critical = quantile * np.sqrt(k * (k + 1) / (6 * n))
    ordered = sorted(zip(ranks, arms, strict=True))
    note = f"Over {n} data sets; ranks less than {critical:.1f} apart are not distinguished."
    return Table("Mean rank", ("arm", "rank"), [[a, f"{r:.1f}"] for r, a in ordered], note=note)


if __name__ == "__main__":
    sys.exit(run_script(ablation_study))
