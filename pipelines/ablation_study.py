"""The ablation studies of docs/results.md: which ways of sharing help, on generated and real rows.

    python pipelines/ablation_study.py --question study                   # generated rows: hours
    python pipelines/ablation_study.py --question borrow --seeds 3        # in short
    python pipelines/ablation_study.py --question real --data FOLDER --kuairand OUT
    python pipelines/ablation_study.py --question labels --data FOLDER --kuairand OUT
    python pipelines/ablation_study.py --question borrow --published docs/studies  # seconds

FOLDER holds the public tables that `configs/tables` describe, OUT is of pipelines/kuairand.py; one
of them alone asks of its rows alone.

Each question is a plan in `configs/ablations`, asked of several kinds of rows. Every arm trains on
the same seeds as its reference. The reader gets a table a question, the difference of every arm to
the reference in points with its interval, a table for each kind of rows
(`ablations/QUESTION/tables.md` and `.html`), and below them the reports, which have all the rest:
`ablations/QUESTION/NAME/report.html`. The same command resumes after the finished runs.

Beside each report, `scores.json` has the scores of every run. Those that docs/results.md was
printed from are in docs/studies: `--published` prints the tables of such scores without training.
"""

from __future__ import annotations

import json
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
from recsys_mtl.ablation.report import level, points_of
from recsys_mtl.ablation.result import task_verdict
from recsys_mtl.ablation.summary import Rule, Summary, mean_known, summarize
from recsys_mtl.ablation.unit import ArmUnit
from recsys_mtl.cli.script import run_script
from recsys_mtl.errors import wrong
from recsys_mtl.files import atomic_write
from recsys_mtl.metrics.differences import Difference
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.reports.page import Page, Table
from recsys_mtl.study.unit import UnitResult, stored

CONFIGS = Path(__file__).parents[1] / "configs"
SCORES = "scores.json"
Summaries = Mapping[str, Summary]


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


def _impressions(task: str, share: float) -> Rows:
    """Few arms, since a run takes a minute."""
    arms = ("ready=[off, borrow, shared_bottom]", "arms={}", "seeds.first=300")
    change = {f"tasks.{task}.label_share": share}
    return Rows("kuairand.yaml", (*_base("kuairand.yaml"), *arms), change, task)


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
    }
    | {f"kuairand_long_view_{share:g}": _impressions("long_view", share) for share in SHARES[:3]},
}
_REAL = ("real", "labels")
_NUMBERS = ("seed", "epochs", "train_seconds", "peak_memory_mb", "kept_from_warmup")
_SCORES, _TRUE = "scores", "true_scores"


def ablation_study(
    question: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(QUESTIONS)}; repeat; else generated rows")
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="kinds of rows; repeat; else all")] = None,
    data: Annotated[str | None, typer.Option(help="folder of the public tables")] = None,
    kuairand: Annotated[str | None, typer.Option(help="folder of pipelines/kuairand.py")] = None,
    seeds: Annotated[int | None, typer.Option(min=2, help="pairs; else the plan's")] = None,
    rows: Annotated[int | None, typer.Option(min=1, help="of each seed; else the plan's")] = None,
    reference: Annotated[str | None, typer.Option(help="arm to compare with; the plan's")] = None,
    processes: Annotated[int | None, typer.Option(min=1, help="seeds trained at a time")] = None,
    out: Annotated[Path | None, typer.Option(help="folder of the reports; ablations")] = None,
    published: Annotated[
        Path | None,
        typer.Option(help="folder of scores to show without training, such as docs/studies"),
    ] = None,
) -> None:
    """Run the plans of configs/ablations; print their differences and where the reports are."""
    questions = question or [name for name in QUESTIONS if name not in _REAL]
    for name in questions:
        if name not in QUESTIONS:
            raise typer.BadParameter(f"{name}: use one of {', '.join(QUESTIONS)}")
    asks: dict[str, dict[str, Ablation]] = {}
    for asked in questions:
        kinds = [name for name in QUESTIONS[asked] if not only or name in only]
        if asked in _REAL and published is None:
            kinds = [name for name in kinds if _folder(name, data, kuairand) is not None]
        if not kinds:
            possible = ", ".join(QUESTIONS[asked])
            needs = " with --data, --kuairand" if asked in _REAL else ""
            raise typer.BadParameter(f"nothing to ask of: use of {possible}{needs}")
        generated = None if asked in _REAL else rows
        changes = {"seeds.count": seeds, "reference": reference, "synthetic.rows": generated}
        overrides = [f"{key}={value}" for key, value in changes.items() if value is not None]
        asks[asked] = {name: QUESTIONS[asked][name].ablation(name, overrides) for name in kinds}
    for asked, ablations in asks.items():
        if published is not None:
            _show(asked, _published(published / asked, ablations), out)
            continue
        summaries, reports, root = {}, [], (out or Path("ablations")) / asked
        for name, ablation in ablations.items():
            folder = _folder(name, data, kuairand) if asked in _REAL else None
            if folder is not None:
                os.environ["RECSYS_MTL_DATA"] = folder
            result = ablate(ablation, root / name, processes=processes)
            summaries[name] = result.summary
            atomic_write(root / name / SCORES, publish(root / name, ablation))
            reports.append(str(result.report))
        _show(asked, summaries, root.parent)
        print(*reports, sep="\n")


def _folder(name: str, data: str | None, kuairand: str | None) -> str | None:
    """The folder that real rows are read from."""
    return kuairand if "kuairand" in name else data


def _show(asked: str, summaries: Summaries, out: Path | None) -> None:
    """Print the tables, and write them; all of them as Markdown where there is no folder."""
    page = Page(f"Question {asked}", tables(asked, summaries))
    if out is None:
        print(page.markdown(), end="")
        return
    page.show()
    page.write(prepare_out(out / asked), "tables", markdown=True)
    print("", out / asked / "tables.md", sep="\n")


def _published(folder: Path, asks: Mapping[str, Ablation]) -> dict[str, Summary]:
    paths = {name: folder / f"{name}.json" for name in asks}
    summaries = {n: _read(path, asks[n]) for n, path in paths.items() if path.exists()}
    if not summaries:
        expected = ", ".join(path.name for path in paths.values())
        raise wrong("no scores", where=str(folder), expected=expected,
                    fix="leave --published out to train")  # fmt: skip
    return summaries


def publish(folder: Path, ablation: Ablation) -> str:
    """The scores of an ablation's runs as JSON: by arm and task, a number a seed."""
    asked = [ArmUnit(arm, seed) for arm in ablation.names for seed in ablation.seeds.values]
    units = [result for _, result in stored(asked, folder)]
    kinds: Mapping[str, str] = units[0]["kinds"]
    arms: dict[str, dict[str, Any]] = {}
    key = _TRUE if all(unit[_TRUE].keys() == kinds.keys() for unit in units) else _SCORES
    for arm in ablation.names:
        own = [unit for unit in units if unit["arm"] == arm]
        arms[arm] = {name: [_short(unit.get(name)) for unit in own] for name in _NUMBERS}
        arms[arm][key] = {task: [_short(unit[key][task]) for unit in own] for task in kinds}
    labelled = {t: round(mean_known([unit["labelled"][t] for unit in units])) for t in kinds}
    document = {"kinds": kinds, "labelled": labelled, "arms": arms}
    return json.dumps(document, allow_nan=False).replace('}, "', '},\n"') + "\n"


def of_published(document: Mapping[str, Any], ablation: Ablation) -> Summary:
    """What the ablation would show, from published scores of its arms, the reference among them."""
    kinds = document["kinds"]
    same = {key: document[key] for key in ("kinds", "labelled")} | {
        "relation": {}, "transfer": [], "reachable": dict.fromkeys(kinds, (None, None)),
        _SCORES: {}, _TRUE: {},
    }  # fmt: skip
    units: list[UnitResult] = []
    for arm, runs in document["arms"].items():
        key = _TRUE if _TRUE in runs else _SCORES
        for i in range(len(runs["seed"])):
            numbers = {name: runs[name][i] for name in _NUMBERS}
            scores = {key: {task: runs[key][task][i] for task in kinds}}
            units.append({**same, "arm": arm, **numbers, **scores})
    reference, *others = ablation.names
    names = [reference, *(name for name in others if name in document["arms"])]
    return summarize(units, names, Rule(ablation.alpha, ablation.matters, holm=ablation.holm))


def _read(path: Path, ablation: Ablation) -> Summary:
    try:
        return of_published(json.loads(path.read_text()), ablation)
    except (ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise wrong("not the scores of an ablation", where=str(path), found=repr(error)) from None


def _short(value: float | None) -> float | None:
    return round(value, 6) if isinstance(value, float) else value


def tables(asked: str, summaries: Summaries) -> list[Table]:
    """A table over all kinds of rows, and one of each."""
    shown = [_differences(summaries, QUESTIONS[asked])]
    if asked == "real" and len(summaries) > 1:
        shown.append(_ranks(summaries))
    if asked != "labels":
        shown += [_of_rows(name, summary) for name, summary in summaries.items()]
    return shown


def _of_rows(name: str, summary: Summary) -> Table:
    """Every arm: the mean over tasks, which tasks it helps and hurts, what it costs."""
    rows = []
    for arm, one in summary.arms.items():
        words: dict[str, list[str]] = {"helps": [], "hurts": []}
        for task, of_task in one.tasks.items():
            words.get(task_verdict(summary, of_task), []).append(f"{task} {of_task.mean:+.2f}")
        listed = (", ".join(tasks) for tasks in words.values())
        time = number(one.train_ratio, ".2f")
        rows.append([arm, _difference(one.overall), one.word, *listed, _difference(one.few), time])
    mean, few = f"mean over tasks [{level(summary)}]", ", ".join(summary.few) or "no task"
    columns = ("arm", mean, "verdict", "helps", "hurts", f"few: {few}", "time")
    seeds = f"{len(summary.seeds)} seeds ({summary.seeds[0]} to {summary.seeds[-1]})"
    note = f"{seeds}; time of an epoch over that of '{summary.reference}', median"
    return Table(name, columns, rows, texts=6, note=note, printed=False)


def _differences(summaries: Summaries, kinds: Mapping[str, Rows]) -> Table:
    """A kind of rows a row, an arm a column, where there are more kinds; else the other way."""
    arms = list(dict.fromkeys(arm for one in summaries.values() for arm in one.arms))
    cells = [
        [arm, *(_of_arm(one, arm, kinds[name].task) for name, one in summaries.items())]
        for arm in arms
    ]
    columns = ("arm", *summaries)
    if len(summaries) > len(arms):
        turned = zip(*cells, strict=True)
        columns, cells = (
            ("rows", *next(turned)),
            [[name, *row] for name, row in zip(summaries, turned, strict=True)],
        )
    first = next(iter(summaries.values()))
    return Table(f"Points over '{first.reference}' [{level(first)}]", columns, cells)


def _of_arm(summary: Summary, arm: str, task: str) -> str:
    one = summary.arms.get(arm)
    if one is None or one.overall is None:
        return ""
    return _difference(one.tasks[task] if task else one.overall)


def _difference(one: Difference | None) -> str:
    return "" if one is None else points_of(one)


def _ranks(summaries: Summaries) -> Table:
    """Mean rank of the arms over data sets, and the difference of ranks that is distinguished.

    Nemenyi's critical difference at 5 %, as in Demšar, "Statistical comparisons of classifiers over
    multiple data sets", JMLR 7 (2006).
    """
    of_sets = [_means(summary) for summary in summaries.values()]
    arms = [arm for arm in of_sets[0] if all(arm in one for one in of_sets)]
    ranks = np.mean([rankdata([-one[arm] for arm in arms]) for one in of_sets], axis=0)
    k, n = len(arms), len(of_sets)
    quantile = studentized_range.ppf(0.95, k, np.inf) / np.sqrt(2)
    critical = quantile * np.sqrt(k * (k + 1) / (6 * n))
    ordered = sorted(zip(ranks, arms, strict=True))
    note = f"Over {n} data sets; ranks less than {critical:.1f} apart are not distinguished."
    return Table("Mean rank", ("arm", "rank"), [[a, f"{r:.1f}"] for r, a in ordered], note=note)


def _means(summary: Summary) -> dict[str, float]:
    return {name: arm.overall.mean if arm.overall else 0.0 for name, arm in summary.arms.items()}


if __name__ == "__main__":
    sys.exit(run_script(ablation_study))
