# %% [markdown]
# # Does transfer help?
#
# One network for several tasks may be better than a network for each, or worse. Which of the two is true
# of *your* tasks is a question for an experiment. Here you plan two data sets whose truth you know, one
# where sharing should pay and one where it cannot, run the experiment on both, and learn to read its
# verdict.
#
# No data are needed. This page takes about three minutes on two cores.
#
# ## Two worlds
#
# Both have the same four tasks. Every row has the label `click`. Only one row in twenty has the labels
# `purchase`, `churn` and `complaint`: they are scarce, as labels that take weeks or money often are.
#
# The worlds differ in one number: `between`, the correlation of the tasks' true scores.
#
# - `related`: 0.9. Who clicks also buys. What the network learns from clicks should help purchases.
# - `unrelated`: 0. What is learned from clicks is of no use for purchases.

# %%
from pathlib import Path

import polars as pl

from data_synth import Truth, load_plan, synthesize
from recsys_mtl.config import yaml_text

ROWS, SEEDS = 12_000, 6
pl.Config.set_float_precision(2)
pl.Config.set_tbl_hide_column_data_types(True)
pl.Config.set_tbl_hide_dataframe_shape(True)
tasks = {
    "click": {"kind": "binary", "rate": 0.20},
    "purchase": {"kind": "binary", "rate": 0.10, "labelled": 0.05},
    "churn": {"kind": "binary", "rate": 0.12, "labelled": 0.05},
    "complaint": {"kind": "binary", "rate": 0.10, "labelled": 0.05},
}
features = {
    "numeric": 8,
    "categorical": [10, 100],
    "items": [200],
    "lists": [],
}
for world, between in {"related": 0.9, "unrelated": 0.0}.items():
    relations = {"between": between}
    plan = {
        "name": world,
        "features": features,
        "tasks": tasks,
        "relations": relations,
    }
    Path(f"{world}.yaml").write_text(yaml_text.dump(plan))

# %% [markdown]
# ## Is the plan what the rows show?
#
# `synthesize` generates rows from a plan and keeps the truth next to them: for each row the true
# score of each task, which no column of a real table ever holds.

# %%
synthesize(
    load_plan("related.yaml"), Path("related"), rows=ROWS, processes=1
)
truth = Truth.open(Path("related")).content
pl.DataFrame(
    {
        "task": task,
        "labelled rows": each["labelled"],
        "best AUC": each["oracle"]["auc"],
    }
    for task, each in truth["tasks"].items()
)

# %% [markdown]
# `best AUC` is what an oracle reaches that knows the true scores. No model can do better on these rows, however
# good it is. The correlations of the true scores are as planned:

# %%
relation = truth["relation"]
pl.DataFrame(
    {"task": task, **dict(zip(relation["tasks"], line, strict=True))}
    for task, line in zip(
        relation["tasks"], relation["measured"], strict=True
    )
)

# %% [markdown]
# `recsys-mtl describe related` shows all of this as a page.
#
# ## The experiment
#
# An *arm* is one way to train. There are three:
#
# - `single_task`: a network for each task. Nothing is shared. It is the reference.
# - `off`: one network for all tasks (PLE: some experts are shared, some are a task's own).
# - `borrow`: the same, and tasks with few labels also learn the labels of the tasks whose predictions
#   correlate with theirs.
#
# A *seed* decides the rows, the split, the initial weights and the order of the rows. Every arm is trained on the
# same seeds. So the difference of two arms on a seed is due to the arms: the seeds are *paired*.
#
# `alpha` is 0.05, so intervals are of 95 %. Without it they are of 99.5 %, which wants more seeds.
#
# How long to train is fixed, and the same for all: four passes, no early stopping. Otherwise you would
# compare stopping rules.

# %%
from recsys_mtl.ablation.ablate import ablate
from recsys_mtl.ablation.plan import load_ablation

experiment = {
    "seeds": {"first": 0, "count": SEEDS},
    "ready": ["off", "single_task", "borrow"],
    "reference": "single_task",
    "alpha": 0.05,
    "tracking": {"enabled": False},
    "change": {
        "training.recipe": "none",
        "training.epochs": 4,
        "training.batch_size": 256,
        "training.optimizer.learning_rate": 0.003,
        "training.early_stopping.patience": None,
        "training.early_stopping.keep": "last",
        "model.embedding.dim": 8,
        "model.shared_experts": [
            {"kind": "mlp", "count": 2, "hidden": [64, 32]}
        ],
        "model.task_experts": [
            {"kind": "mlp", "count": 1, "hidden": [64, 32]}
        ],
        "model.tower.hidden": [16],
        "adatt.warmup_epochs": 1,
        "adatt.freeze_epoch": 3,
    },
}
summaries = {}
for world in ("related", "unrelated"):
    data = {
        "name": world,
        "synthetic": {"plan": f"{world}.yaml", "rows": ROWS},
    }
    Path(f"ablation_{world}.yaml").write_text(
        yaml_text.dump(data | experiment)
    )
    ablation = load_ablation(Path(f"ablation_{world}.yaml"))
    summaries[world] = ablate(ablation, f"out/{world}")["summary"]

# %% [markdown]
# From a terminal the same is `recsys-mtl ablate ablation_related.yaml`, which also prints the report.
#
# ## The verdict
#
# Differences are in *points*: 0.01 of AUC. The score is the mean over the four tasks, measured against the
# true probabilities, so that the noise of test labels is not in it.

# %%
for world, summary in summaries.items():
    for arm in ("off", "borrow"):
        print(f"{world:10} {arm:7} {summary['arms'][arm]['sentence']}")

# %% [markdown]
# There are four possible verdicts:
#
# - **helps**: the whole interval is above +0.1 points.
# - **hurts**: the whole interval is below -0.1 points.
# - **no difference that matters**: the whole interval lies between the two.
# - **not decided**: anything else. The experiment was too small to say. It is *not* "no difference", and
#   not "a small gain" either. The line says how large a difference so many seeds would have shown.
#
# So in the related world one network helps. In the unrelated world six seeds are too few: only a difference of
# 0.9 points and more would have been found in 80 of 100 tries. More seeds would tell.
#
# ## Which task gains?
#
# The mean over tasks hides who wins and who loses.

# %%
from recsys_mtl.reports.intervals_figure import intervals_of

entries = [
    (f"{world}: {task}", gain["mean"], gain["low"], gain["high"])
    for world, summary in summaries.items()
    for task, gain in summary["arms"]["off"]["tasks"].items()
]
intervals_of(
    entries,
    title="one network over a network for each task, points of AUC",
    zero=True,
)

# %% [markdown]
# Compare the two worlds. A scarce task has few labels of its own. In the related world the clicks teach the
# network what matters for it too. In the unrelated world there is nothing to share, and the tasks compete for
# the shared experts. `click` has labels enough in both: it has little to gain, and something to lose.
#
# Intervals of a scarce task are wide: few labels make every training a lottery. That is why one
# run with a better number proves nothing.
#
# ## Does `borrow` add anything to sharing?
#
# The report above compares with `single_task`. To compare `borrow` with `off`, make `off` the reference. The
# trainings are there already, so only the numbers are computed anew.

# %%
for world in summaries:
    path = Path(f"ablation_{world}.yaml")
    again = load_ablation(path, ["reference=off"])
    summary = ablate(again, f"out/{world}")["summary"]
    print(f"{world:10} borrow  {summary['arms']['borrow']['sentence']}")

# %% [markdown]
# A difference of exactly 0 on every seed is no small effect: the method never acted. `borrow` lends only to
# tasks with less than a quarter of the labels of the *median* task. Here three tasks of four are scarce, so
# the median is scarce too, and nobody borrows. Before you read a difference, make sure that the
# arm does what you think.
#
# ## What to do next
#
# - Ask it of your own rows: an ablation takes a config instead of a plan (`base: my.yaml`). Use ten seeds or more.
# - Add the arm `noise_floor`: the same training with the rows in another order. It shows how large a
#   difference is that means nothing.
# - [Transfer between tasks](../adatt.md) explains `borrow` and the other methods, and
#   [the results](../results.md#does-adatt-help) what they did in larger studies. Short version: sharing often
#   helps, transfer on top of it rarely does. That is why it is off by default.
# - [Synthetic data](../synthetic.md) says what else a plan can hold: funnels, conflicts, missing values, drift.
