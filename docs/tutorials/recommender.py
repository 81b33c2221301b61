# %% [markdown]
# # A recommender from impressions
#
# You start from a log of which videos were shown to whom, and end with a model that ranks videos for a
# user by what the user will do with them. On the way you meet tables that features share, lists,
# metrics within each user, and an architecture with tables for each task.
#
# The data are KuaiRand-Pure (Gao et al., CIKM 2022; Zenodo record 10439422). This page runs from the
# repository's folder `docs/tutorials`, on a quarter of the users, and takes about three minutes on two cores.
# What that leaves out stands at its end.
#
# ## Rows
#
# `RECSYS_MTL_DATA` names the folder that holds your copy of KuaiRand-Pure as `kuairand`.
# `pipelines/kuairand.py` makes rows of it, some fifty lines of Polars to copy from for your own log.

# %%
import os
import runpy
from datetime import date
from pathlib import Path

import polars as pl

data = Path(os.environ.get("RECSYS_MTL_DATA", "")) / "kuairand"
if not data.exists():
    raise FileNotFoundError(
        "set RECSYS_MTL_DATA to the folder that holds "
        "KuaiRand-Pure as kuairand"
    )

pl.Config.set_float_precision(4)
pl.Config.set_tbl_hide_column_data_types(True)
pl.Config.set_tbl_hide_dataframe_shape(True)
pl.Config.set_tbl_rows(12)
recipe = runpy.run_path("../../pipelines/kuairand.py")
recipe["kuairand"](data, Path("out"))
rows = pl.read_parquet("out/rows/*.parquet")
rows.select(
    "day",
    "user_id",
    "video_id",
    "duration_seconds",
    "watched",
    "liked",
    "click",
    "like",
).head(4)

# %% [markdown]
# A row is an impression: one video, shown to one user, whether it was clicked or not. Columns are of two kinds.
#
# - **Features** are what was known when the video was shown: the user, the video and its length, and
#   lists of what the user had watched and liked *before the first day of these rows*.
# - **Outcomes** are what the user did then: `click`, `like`, how long it was watched. They are labels. As
#   features they would be perfect, and not there when you need them.
#
# Users are the unit of a sample: a user has all rows or none, or the metrics within users would mean little.

# %%
ONE_IN = 4
rows = rows.filter(pl.col("user_id") % ONE_IN == 0)
train_rows = rows.filter(pl.col("day") < date(2022, 5, 3))
valid = rows.filter(pl.col("day") == date(2022, 5, 3))
test = rows.filter(pl.col("day") > date(2022, 5, 3))
known = train_rows["user_id"].unique().implode()
pl.DataFrame(
    {
        "rows of": name,
        "impressions": len(each),
        "users": each["user_id"].n_unique(),
        "of new users": 1 - each["user_id"].is_in(known).mean(),
    }
    | {
        task: each[task].sum()
        for task in ("click", "like", "comment", "hate")
    }
    for name, each in {
        "training": train_rows,
        "validation": valid,
        "test": test,
    }.items()
)

# %% [markdown]
# The split is by time. Tomorrow's impressions are what the model will rank, so the last two days judge it.
# `hate` has a handful of positives in them: no metric of it will mean much.
#
# `of new users` is the share of impressions of users that training has not seen. For them the model has the
# other columns. The package warns of it in every training; you have seen it here, so the next cell leaves
# errors only.
#
# ## One table for one thing
#
# The config is `configs/kuairand.yaml`. Four lines of it are worth a look:

# %%
import logging

from recsys_mtl.config import load_config

logging.getLogger("recsys_mtl").setLevel(logging.ERROR)
CONFIG = "../../configs/kuairand.yaml"
lines = Path(CONFIG).read_text().splitlines()
print("\n".join(line for line in lines if "table: video" in line))

# %% [markdown]
# - `table: video` makes the candidate and the three lists rows of *one* embedding table. What is learned
#   of a video as a candidate serves where it stands in a history.
# - A list becomes the mean of its videos' vectors, and its length. `share_of: watched` adds the share of the
#   watched videos that were liked: who likes one video in ten will like the next.
#
# The ten tasks share the tables. Frequent feedback (click) trains them, rare feedback (follow) uses them.
#
# ## The least that a model has to beat
#
# Two scores need no model at all: how often the *video* was clicked in training, and how often the
# *user* clicked.

# %%
from sklearn.metrics import roc_auc_score

from recsys_mtl.metrics.lists import list_metrics

mean = train_rows["click"].mean()


def rate(column):
    """Share of clicks by the column's values, pulled to the mean where rows are few."""
    by = train_rows.group_by(column).agg(
        clicks=pl.col("click").sum(), shown=pl.len()
    )
    rates = by.select(
        column,
        rate=(pl.col("clicks") + 10 * mean) / (pl.col("shown") + 10),
    )
    return test.join(rates, column, how="left", maintain_order="left")[
        "rate"
    ].fill_null(mean)


def judged(name, scores):
    """AUC over all rows, and within each user's rows."""
    labels, users = test["click"].to_numpy(), test["user_id"].to_numpy()
    weights = pl.repeat(1.0, len(test), eager=True).to_numpy()
    within = list_metrics(
        labels, scores.to_numpy(), weights, users, ["gauc", "ndcg_at_10"]
    )
    auc = float(roc_auc_score(labels, scores))
    return {
        "score": name,
        "auc": auc,
        "gauc": within.mean("gauc"),
        "ndcg_at_10": within.mean("ndcg_at_10"),
    }


simple = [
    judged("rate of the video", rate("video_id")),
    judged("rate of the user", rate("user_id")),
]
pl.DataFrame(simple)

# %% [markdown]
# - **AUC** asks: does a clicked row get a higher score than another row, *of any user*?
# - **GAUC** asks it within each user's rows, and takes the mean.
# - **NDCG at 10** asks how near to the top of a user's list the clicks are.
#
# The user's rate is the same for all rows of a user, so its GAUC is 0.5, as that of guessing. It has the better AUC of the two, and the worse
# lists: it knows who clicks, and ranks nothing. Read AUC alone, and you will ship such a model.
#
# `evaluation: {groups: user_id}` in the config adds the metrics within users to every report.
#
# ## The model
#
# `recipe: stream` is what the package takes by itself here: few passes, since a second one already
# learns ids by heart. We name it so that a smaller sample trains alike.

# %%
from recsys_mtl import MultiTaskModel

config = load_config(CONFIG, ["training.recipe=stream"])
ple = MultiTaskModel.from_config(config).fit(train_rows, valid=valid)
clicks = ple.predict(test)["click"]
pl.DataFrame([*simple, judged("ple", clicks)])

# %% [markdown]
# It is ahead of both in all three.
#
# ## All ten tasks
#
# `low` and `high` are the 95 % interval. Users are drawn for it, not rows, since rows of a user are alike.

# %%
in_ple = ple.evaluate(test).to_frame()
shown = pl.col("metric").is_in(["auc", "gauc", "rank_correlation"])
in_ple.filter(shown).select(
    "task", "metric", "value", "low", "high"
).head(12)

# %% [markdown]
# Read the interval, not the figure. Of clicks it is a point and a half to each side. Of a rare signal such as
# `follow` it is ten points and more: this sample says next to nothing about it.
#
# ## What `stem` does
#
# The network above is PLE: all tasks read the same tables. A video that many watch and few like has *one* vector
# for both. With `stem` each task has tables of its own in addition to the shared ones; it reads the experts of the other
# tasks, but does not train them. It costs about twice as much.

# %%
config = load_config(
    CONFIG, ["training.recipe=stream", "model.architecture=stem"]
)
stem = MultiTaskModel.from_config(config).fit(train_rows, valid=valid)
in_stem = stem.evaluate(test).to_frame()
both = in_ple.join(
    in_stem, on=["task", "metric"], suffix="_stem", maintain_order="left"
)
both = both.filter(pl.col("metric").is_in(["auc", "rank_correlation"]))
both.select(
    "task",
    "metric",
    ple="value",
    low="low",
    high="high",
    stem="value_stem",
)

# %% [markdown]
# Every value of `stem` lies between `low` and `high`: two days of these users do not tell the two apart. On
# *all* users and five seeds they can be told apart: `stem` is 2.0 points [+1.0, +3.1] ahead of PLE in the mean of the ten
# tasks ([the study](../results.md#a-recommender-on-real-impressions)). One run on a quarter of the users cannot show that,
# and it would be a mistake to choose by it.
#
# ## A list for a user
#
# The predictions are probabilities and amounts, so you can weigh them: here a like counts as five clicks, and
# a video that is hated costs twenty. What the weights are is your business's decision, not the model's.

# %%
scores = stem.predict(test)
score = scores["click"] + 5 * scores["like"] - 20 * scores["hate"]
busiest = test["user_id"].mode(maintain_order=True)[0]
(
    test.select(
        "user_id",
        "video_id",
        "duration_seconds",
        clicked="click",
        liked="like",
    )
    .with_columns(
        score=score, p_click=scores["click"], p_like=scores["like"]
    )
    .filter(pl.col("user_id") == busiest)
    .sort("score", descending=True)
    .head(8)
)

# %% [markdown]
# ## What this page leaves out
#
# - Three quarters of the users. A model of all rows is better, above all on ids.
# - Boosting as a baseline (`recsys-mtl train … --baselines`), and seeds: [the study](../results.md#a-recommender-on-real-impressions)
#   has LightGBM, twelve arms and five seeds.
# - Candidates. These models rank what they are given; which of all videos to rank is a task of kind
#   `retrieval`.
# - Other days. All of this is eleven days of one service.
#
# ## What to do next
#
# - Train on everything: `python pipelines/kuairand.py --data FOLDER --out OUT`, then
#   `recsys-mtl train configs/kuairand.yaml --data OUT --set model.architecture=stem`.
# - [A recommender from impressions](../recommender.md) explains histories with order, funnels, candidates and nightly training.
# - Ask which architecture suits your rows: they are ready arms of [`ablate`](../adatt.md#does-it-help-you), and the [next tutorial](does_transfer_help.ipynb) shows how to
#   read its verdict.
