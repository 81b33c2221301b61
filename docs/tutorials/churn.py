# %% [markdown]
# # Who will leave? Churn from a table
#
# You start from a table of customers and end with a saved model that says who will leave. On the way
# you see how good the model is, next to simpler ones, and whether its probabilities can be trusted.
#
# The data are 10,127 credit-card customers, the public data set "Credit Card customers"
# (`BankChurners.csv`). About one customer in six has left. This page takes about a minute and a half on
# two cores.
#
# ## The rows
#
# `RECSYS_MTL_DATA` names the folder with the file.

# %%
import os
from pathlib import Path

import polars as pl

file = Path(os.environ.get("RECSYS_MTL_DATA", "")) / "BankChurners.csv"
if not file.exists():
    raise FileNotFoundError(
        "set RECSYS_MTL_DATA to the folder that holds BankChurners.csv"
    )

pl.Config.set_float_precision(4)
pl.Config.set_tbl_hide_column_data_types(True)
pl.Config.set_tbl_hide_dataframe_shape(True)
rows = pl.read_csv(file)
rows.select(
    "Attrition_Flag",
    "Customer_Age",
    "Gender",
    "Income_Category",
    "Total_Trans_Ct",
).head(3)

# %% [markdown]
# A row is a customer. `Attrition_Flag` says whether the customer left. That is the label: what the
# model has to predict.

# %%
rows["Attrition_Flag"].value_counts(sort=True)

# %% [markdown]
# ## What must not be a feature
#
# A feature is what is known when you predict. Three kinds of columns are none:
#
# - An id says nothing of a new customer: `CLIENTNUM`.
# - A column that is computed from others repeats them: `Avg_Open_To_Buy` is the credit limit less the
#   balance.
# - A column that was made from the label gives the answer away. The published file has two such
#   columns, which start with `Naive_Bayes`. A model with them looks perfect, and is useless.

# %%
rows = rows.select(
    pl.exclude("CLIENTNUM", "Avg_Open_To_Buy", "^Naive_Bayes.*$")
)

# %% [markdown]
# ## Rows to train on, and rows to judge by
#
# A fifth of the customers is set aside. The model never sees them before it is judged.

# %%
shuffled = rows.sample(fraction=1.0, shuffle=True, seed=0)
test, train_rows = (
    shuffled.head(len(rows) // 5),
    shuffled.tail(-(len(rows) // 5)),
)
len(train_rows), len(test)

# %% [markdown]
# ## A model
#
# One model predicts several things at once. Here it predicts who leaves, in which income band a
# customer is, and which card the customer holds. The income of one customer in nine is `Unknown`: a
# missing label, not a band. Such a customer still teaches the other two tasks.
#
# You name the tasks. Everything else follows from the rows: which columns are features, and how the
# network is built and trained. One setting is ours: `members`, the number of small networks whose mean
# predicts. Without it the package would take 16 here; 4 take a quarter of the time and are a little
# worse.

# %%
from recsys_mtl import MultiTaskModel

MEMBERS = 4
tasks = {
    "churn": {
        "kind": "binary",
        "label": "Attrition_Flag",
        "positive": "Attrited Customer",
    },
    "income": {
        "kind": "multiclass",
        "label": "Income_Category",
        "null_values": ["Unknown"],
    },
    "card": {"kind": "multiclass", "label": "Card_Category"},
}
settings = {"model": {"members": MEMBERS}}
model = MultiTaskModel(tasks=tasks, settings=settings).fit(train_rows)
model.predict(test.head(3)).select("churn", "income", "card")

# %% [markdown]
# `churn` is the probability that the customer leaves.
#
# ## How good is it?
#
# Each task has one main metric, with an interval of 95 %: other customers of the same kind would move
# the number by about that much.

# %%
evaluation = model.evaluate(test)
evaluation.to_frame().filter(pl.col("low").is_not_null()).drop(
    "kind", "labelled"
)

# %%
evaluation.plot()

# %% [markdown]
# AUC is the chance that a customer who leaves gets a higher probability than one who stays: 0.5 is
# guessing, 1 is perfect. McFadden's R² compares with a model that knows only how frequent each class is: 0
# is no better than that.
#
# ## Good compared with what?
#
# A number alone says little. `train` with `baselines` trains simpler models on the same rows and judges
# them by the same test rows:
#
# - `constant` predicts the same for everybody,
# - `lightgbm` is gradient boosting, a model for each task,
# - `single_task` is this network with the other tasks taken away.
#
# It is what `recsys-mtl train churn.yaml --baselines` does. The settings are the same as above, and the
# folder `out/churn` gets the model, a page of results and all numbers. (`tracking` off: nothing goes to
# MLflow here. Leave the line out and the run is logged.)

# %%
from recsys_mtl.config import config_from_mapping
from recsys_mtl.runs.train import train

rows.write_parquet("customers.parquet")
config = config_from_mapping(
    {
        "name": "churn",
        "data": {"path": "customers.parquet", "root": "."},
        "features": {
            name: each.model_dump()
            for name, each in model.config_.features.items()
        },
        "tasks": tasks,
        "tracking": {"enabled": False},
        **settings,
    },
    where="churn",
)
result = train(config, "out/churn", baselines=["lightgbm"])

main = {"churn": "auc", "income": "mcfadden_r2", "card": "mcfadden_r2"}
pl.DataFrame(
    {"task": task, "metric": metric}
    | {
        key: result["tasks"][task]["metrics"][metric][key]
        for key in ("value", "low", "high")
    }
    | {
        name: of[task][metric]["value"]
        for name, of in result["baselines"].items()
    }
    for task, metric in main.items()
)

# %% [markdown]
# Read it like this. Where a baseline lies between `low` and `high`, these test rows do not tell the two
# apart. Where it lies outside, they do.
#
# So on churn and card the network is level with LightGBM, and a little ahead on income. A network
# for each task is level with one for all: here sharing costs nothing, and one model is less to keep.
#
# This command splits the rows at random once more, so its numbers differ a little from those above.
#
# ## Can the probabilities be trusted?
#
# A model is calibrated when, of the customers with a probability of 20 %, about 20 % leave. Cut the
# test rows into groups by their prediction, and compare.

# %%
scored = test.select(
    left=pl.col("Attrition_Flag") == "Attrited Customer"
).with_columns(predicted=model.predict(test)["churn"])
edges = [0.02, 0.1, 0.3, 0.7, 0.9]
(
    scored.group_by(
        band=pl.sum_horizontal(
            pl.col("predicted") > edge for edge in edges
        )
    )
    .agg(
        customers=pl.len(),
        predicted=pl.col("predicted").mean(),
        left=pl.col("left").cast(pl.Float64).mean(),
    )
    .with_columns(
        may_differ_by=1.96
        * (
            pl.col("predicted")
            * (1 - pl.col("predicted"))
            / pl.col("customers")
        ).sqrt()
    )
    .sort("predicted")
)

# %% [markdown]
# `may_differ_by` is what chance alone does in a group of that size, in 95 of 100 cases. A larger
# difference between `predicted` and `left` is a sign that the probabilities are off.
#
# Five groups of six are within it. In the second one, customers with 2 to 10 %, about one in ten leaves and
# not one in twenty: the model is too sure of them. If you decide by a limit of 5 %, that matters. If you
# call the hundred likeliest, it does not. The page `out/churn/report.html` draws this as a picture, with a
# verdict.
#
# ## What does it go by?
#
# Shuffle one column, and see what the AUC of churn loses.

# %%
importance = model.explain(test, repeats=3)
importance.plot("churn", most=10)

# %% [markdown]
# How often and for how much a customer uses the card says most. That is no cause: somebody who is about
# to leave has already stopped using the card.
#
# ## Keep it, and use it
#
# A saved model is a folder. Nothing in it is pickled, so loading it runs no code of the folder.

# %%
model.save("churn_model")
again = MultiTaskModel.load("churn_model")
again.predict(test.head(3)).equals(model.predict(test.head(3)))

# %% [markdown]
# ## What to do next
#
# The folder of `train` is what commands take:
#
# ```
# recsys-mtl predict out/churn --input customers.parquet --output scores.parquet
# recsys-mtl serve out/churn                      # over HTTP, on port 8080
# ```
#
# - Open `out/churn/report.html`.
# - Let `recsys-mtl init customers.parquet --label Attrition_Flag --out churn.yaml` draft a config for your own table.
# - [Serving](../serving.md) says how a model is registered (its training has to be tracked: leave out `tracking` above), promoted,
#   served and rolled back.
# - The [next tutorial](recommender.ipynb) makes a recommender from impressions.
