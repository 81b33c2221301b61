"""Arms by seeds from one YAML, and what their differences show.

Files in the output folder, in addition to those of every study (recsys_mtl/study/run.py):

    ablation.yaml               what the folder is for: base, arms and seeds
    base.yaml, plan.yaml        what the base config and the plan of the rows came to, with seed 0
    rows.sha256                 the fingerprint of the base's rows
    differences.png             the report's pictures
    affinity.png
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from recsys_mtl.ablation.document import ablation_document
from recsys_mtl.ablation.folder import as_begun, claim
from recsys_mtl.ablation.plan import Ablation, check_arms
from recsys_mtl.ablation.report import make_page
from recsys_mtl.ablation.result import AblationResult
from recsys_mtl.ablation.summary import Rule, Summary, summarize
from recsys_mtl.ablation.unit import GENERATED, ArmUnit, arm_trainer
from recsys_mtl.files import remove_at_once
from recsys_mtl.reports.output import prepare_out
from recsys_mtl.study.run import Outcome, Show, Study, run_study
from recsys_mtl.study.unit import UnitResult


def ablate(
    ablation: Ablation,
    out: str | Path,
    *,
    processes: int | None = None,
    show: Show | None = None,
) -> AblationResult:
    """Train what is missing, compare, print and store the report, track every run.

    Args:
        ablation: arms and seeds.
        out: a new folder, or one that the same ablation has begun; seeds and arms may be added.
        processes: seeds that are trained at the same time; None takes one a core.
        show: gets the report and the files that hold it.

    Returns:
        What result.json holds.

    Raises:
        UserError: an arm or the base config is wrong, or `out` holds another ablation.
        KeyboardInterrupt: Ctrl-C; the same call resumes after the runs that are finished.
    """
    started = datetime.now(UTC)
    check_arms(ablation)
    out = prepare_out(out)
    claim(ablation, out)
    names, seeds = ablation.names, ablation.seeds.values
    summaries: list[Summary] = []

    def report(results: Sequence[UnitResult]) -> Outcome:
        remove_at_once(out / GENERATED)
        summary = summarize(
            results, names, Rule(ablation.alpha, ablation.matters, holm=ablation.holm)
        )
        summaries.append(summary)
        page = make_page(ablation.name, summary)
        return Outcome(summary, summary.numbers(), page, ablation_document(ablation, summary, out))

    study = Study(
        job="ablate",
        name=ablation.name,
        tracking=ablation.tracking,
        params=ablation.model_dump(exclude={"tracking"}),
        units=[ArmUnit(name, seed) for seed in seeds for name in names],
        batches=partial(by_seed, names),
        trainer=partial(arm_trainer, as_begun(ablation, out)),
        report=report,
        tracked=_tracked,
        settings=lambda result: result.get("changes", {}),
    )
    document = run_study(study, out, started=started, processes=processes, show=show)
    return AblationResult(document, ablation.name, summaries[-1], document["report"])


def by_seed(names: Sequence[str], missing: Sequence[ArmUnit]) -> list[list[ArmUnit]]:
    """The units of each seed; arms take turns in being the first, which is slow."""
    batches = []
    for seed in dict.fromkeys(unit.seed for unit in missing):
        first = seed % len(names)
        turns = (*names[first:], *names[:first])
        own = [unit for unit in missing if unit.seed == seed]
        batches.append(sorted(own, key=lambda unit: turns.index(unit.arm)))
    return batches


def _tracked(result: UnitResult) -> dict[str, float | None]:
    """Scores and costs of a unit."""
    return {
        **{f"score/{task}": value for task, value in result["scores"].items()},
        **{f"true_score/{task}": value for task, value in result["true_scores"].items()},
        **{key: result[key] for key in ("train_seconds", "peak_memory_mb", "epochs")},
    }
