"""The sections of tasks: one typed section a kind, with the properties of its metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from recsys_mtl.config.entire_space import CounterfactualConfig, NoCounterfactualConfig
from recsys_mtl.config.losses import BceConfig, BinaryLossConfig, MseConfig, RegressionLossConfig
from recsys_mtl.config.metric import MetricSpec
from recsys_mtl.config.open_union import Members, OpenUnion
from recsys_mtl.config.section import Value


class TaskConfig(OpenUnion):
    """A task of one of the registered kinds.

    Attributes:
        metrics: of the kind, in the order of results.
        main: the main metric of a task: larger is better, and 1 is the most.
        summary: metrics that the model card and `compare` show, in their order.
        has_items: the output is the embedding of an item to retrieve, not a logit or value.
        is_event: it happens or not, so that other tasks may go through it.
        of_lists: metrics of ranking within lists, where `evaluation.groups` names them.
    """

    members: ClassVar[Members] = {}
    metrics: ClassVar[tuple[MetricSpec, ...]]
    main: ClassVar[str]
    summary: ClassVar[tuple[str, ...]]
    has_items: ClassVar[bool] = False
    is_event: ClassVar[bool] = False
    of_lists: ClassVar[tuple[MetricSpec, ...]] = ()

    label: str | None = Field(None, description="label column; the task's name if null")
    weight: PositiveFloat = Field(1.0, description="fixed task weight in the total loss")
    only_where: str | None = Field(
        None, description="sample space, such as `click == 1`; other rows count as unlabelled"
    )
    null_values: list[Value] = Field([], description="label values that mean unlabelled")
    label_share: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0,
        description="share of the training and validation labels that are used, drawn by the seed, "
        "a smaller share from a larger one; test rows have all: for learning curves",
    )
    kind: str

    @classmethod
    def metric_names(cls, top_k: Sequence[int]) -> tuple[str, ...]:
        """The metrics in their order, those at K for each K."""
        return tuple(name for metric in cls.metrics for name in metric.names(top_k))

    @classmethod
    def list_names(cls, top_k: Sequence[int]) -> tuple[str, ...]:
        """The metrics within lists in their order."""
        return tuple(name for metric in cls.of_lists for name in metric.names(top_k))

    @classmethod
    def shown(cls, names: Iterable[str]) -> tuple[str, ...]:
        """Those of a result's metrics that the model card and `compare` show."""
        lists = (n for n in names if any(metric.is_of(n) for metric in cls.of_lists))
        return (*cls.summary, *(name for name in lists if name not in cls.summary))

    @classmethod
    def main_metric(cls) -> MetricSpec:
        """What is known of `main`."""
        return next(metric for metric in cls.metrics if metric.name == cls.main)

    @property
    def label_type(self) -> Literal["number", "text"]:
        """The type to read the values of a CSV file as."""
        return "text"

    @property
    def event(self) -> str:
        """What distinguishes two tasks of one kind on one column."""
        return ""

    @property
    def parent(self) -> str | None:
        """The task that has to happen first, see `BinaryConfig.through`."""
        return None

    @property
    def table_of_items(self) -> str | None:
        """The embedding table of features whose values are its items; None: there is none."""
        return None

    @property
    def on_all_rows(self) -> bool:
        """Whether a task behind another is trained on all rows of that one."""
        return True

    @property
    def term(self) -> CounterfactualConfig:
        """The counterfactual term of a task behind another."""
        return NoCounterfactualConfig()

    @property
    def sample_space(self) -> str:
        """The rows that the label is about, in words."""
        return self.only_where or "all rows"

    @property
    def loss_name(self) -> str:
        """The loss, as the model card calls it."""
        return "cross-entropy"


_NDCG = MetricSpec("ndcg_at_k", title="NDCG")
_LISTS = (
    MetricSpec("gauc", title="GAUC", constant=0.5),
    _NDCG,
    MetricSpec("hit_rate_at_k"),
    MetricSpec("mrr", title="MRR"),
)


@TaskConfig.register
class BinaryConfig(TaskConfig):
    """A yes/no label; the prediction is a probability."""

    metrics = (
        MetricSpec("auc", title="AUC", constant=0.5, reach=True),
        MetricSpec("pr_auc", reach=True),
        MetricSpec("log_loss", larger_is_better=False, reach=True),
        MetricSpec("normalized_entropy", larger_is_better=False, shown=False, constant=1.0),
        MetricSpec("calibration_error", larger_is_better=False, shown=False),
        MetricSpec("calibration_ratio", larger_is_better=None),
    )
    main = "auc"
    summary = ("auc", "log_loss", "calibration_error")
    is_event = True
    of_lists = _LISTS

    kind: Literal["binary"]
    positive: Value | list[Value] | None = Field(
        None, description="the value that counts as 1, or a list of them; null: 1 and true"
    )
    loss: BinaryLossConfig = Field(
        BceConfig(), description="cross-entropy, or focal loss; a name, or a mapping with `name`"
    )
    through: str | None = Field(
        None,
        description="binary task that has to happen first (`click`): the label is that both "
        "happened, on the rows of that task (ESMM, Ma et al. 2018)",
    )
    entire_space: bool = Field(
        True,
        description="with `through`: train on the joint label; false: on the rows alone on which "
        "the task before happened, to compare with",
    )
    counterfactual: CounterfactualConfig = Field(
        NoCounterfactualConfig(),
        description="with `through`: a term of the loss (ESCM², Wang et al. 2022); a name, or a "
        "mapping with `name`",
    )

    @property
    def event(self) -> str:
        """The values that count as 1, and the task before."""
        return " after ".join(
            [", ".join(self.positives), *([self.through] if self.through else [])]
        )

    @property
    def parent(self) -> str | None:
        """The task that has to happen first."""
        return self.through

    @property
    def on_all_rows(self) -> bool:
        """Whether it is trained on all rows of the task before."""
        return self.entire_space

    @property
    def term(self) -> CounterfactualConfig:
        """The counterfactual term."""
        return self.counterfactual

    @property
    def sample_space(self) -> str:
        """The rows that the label is about, in words."""
        return f"those of {self.through}" if self.through else super().sample_space

    @property
    def positives(self) -> list[str]:
        """The values that count as 1; empty where these are 1 and true."""
        return [self.positive] if isinstance(self.positive, str) else self.positive or []

    @property
    def loss_name(self) -> str:
        """The loss, as the model card calls it."""
        return self.loss.name


@TaskConfig.register
class MulticlassConfig(TaskConfig):
    """One of several classes; the prediction is a class and its probabilities."""

    metrics = (
        MetricSpec("accuracy", reach=True),
        MetricSpec("macro_f1", reach=True),
        MetricSpec("log_loss", larger_is_better=False, reach=True),
        MetricSpec("ndcg_at_3", shown=False, reach=True),
        MetricSpec("mcfadden_r2", title="McFadden R²", constant=0.0, reach=True),
    )
    main = "mcfadden_r2"
    summary = ("accuracy", "log_loss", "mcfadden_r2")

    kind: Literal["multiclass"]
    classes: list[Value] | None = Field(None, description="all classes; fitted on train if null")
    class_weights: dict[str, PositiveFloat] = Field(
        {},
        description="weight of a class in the loss, 1 without one; needs `classes`; moves the "
        "calibration",
    )

    @model_validator(mode="after")
    def _classes_differ(self) -> MulticlassConfig:
        if self.classes is not None and (
            len(self.classes) < 2 or len(set(self.classes)) != len(self.classes)
        ):
            raise ValueError("classes needs two or more different values")
        unknown = [name for name in self.class_weights if name not in (self.classes or [])]
        if unknown:
            raise ValueError(f"class_weights names '{unknown[0]}', which is not one of classes")
        return self


@TaskConfig.register
class RegressionConfig(TaskConfig):
    """A number; the prediction is in the label's own unit."""

    metrics = (
        MetricSpec("rmse", larger_is_better=False),
        MetricSpec("mae", larger_is_better=False, shown=False),
        MetricSpec("r2", constant=0.0, reach=True),
        MetricSpec("rank_correlation", title="rank correlation", constant=0.0, reach=True),
    )
    main = "rank_correlation"
    summary = ("rank_correlation", "r2", "rmse")
    of_lists = (_NDCG,)

    kind: Literal["regression"]
    loss: RegressionLossConfig = Field(
        MseConfig(), description="on the transformed target; a name, or a mapping with `name`"
    )
    transform: Literal["standardize", "log1p", "none"] = Field(
        "standardize", description="of the target, fitted on train and undone in predictions"
    )

    @property
    def label_type(self) -> Literal["number", "text"]:
        """A number."""
        return "number"

    @property
    def loss_name(self) -> str:
        """The loss, as the model card calls it."""
        return self.loss.name


@TaskConfig.register
class RetrievalConfig(TaskConfig):
    """An item id; the prediction is the nearest items of a learned item table."""

    metrics = (MetricSpec("recall_at_k", reach=True), MetricSpec("mrr", title="MRR", reach=True))
    main = "mrr"
    summary = ("mrr",)
    has_items = True

    kind: Literal["retrieval"]
    table: str | None = Field(
        None,
        description="embedding table of features whose values are the items: one vocabulary, one "
        "table, as wide as queries then; null: items have vectors of their own",
    )
    dim: PositiveInt = Field(128, description="width of queries and items; not with `table`")
    temperature: PositiveFloat = Field(0.07, description="divides the cosine similarities")
    max_items: PositiveInt = Field(
        100_000, description="items to keep, the most frequent by weight; not with `table`"
    )
    logq_correction: bool = Field(
        True,
        description="where only the items of a batch compete (more than 2,048 items, or `table`): "
        "correct that frequent ones are negatives more often (logQ, Yi et al. 2019)",
    )

    @property
    def table_of_items(self) -> str | None:
        """The embedding table of features whose values are its items."""
        return self.table


@TaskConfig.register
class CountConfig(TaskConfig):
    """A number of events (purchases in 30 days); the prediction is the expected number."""

    metrics = (
        MetricSpec("poisson_deviance", larger_is_better=False),
        MetricSpec("poisson_d2", title="Poisson D²", constant=0.0),
        MetricSpec("mae", larger_is_better=False, shown=False),
        MetricSpec("rank_correlation"),
        MetricSpec("calibration_ratio", larger_is_better=None),
    )
    main = "poisson_d2"
    summary = ("poisson_d2", "rank_correlation", "calibration_ratio")
    of_lists = _LISTS

    kind: Literal["count"]

    @property
    def label_type(self) -> Literal["number", "text"]:
        """A number."""
        return "number"

    @property
    def loss_name(self) -> str:
        """The loss, as the model card calls it."""
        return "Poisson deviance"


@TaskConfig.register
class CustomerValueConfig(TaskConfig):
    """An amount of which most are 0 (spend); predicted are its mean and the chance of any."""

    metrics = (
        MetricSpec("normalized_gini", title="normalised Gini", constant=0.0),
        MetricSpec("rmse", larger_is_better=False),
        MetricSpec("mae", larger_is_better=False, shown=False),
        MetricSpec("auc", constant=0.5),
        MetricSpec("calibration_ratio", larger_is_better=None),
    )
    main = "normalized_gini"
    summary = ("normalized_gini", "auc", "rmse")
    of_lists = _LISTS

    kind: Literal["customer_value"]

    @property
    def label_type(self) -> Literal["number", "text"]:
        """A number."""
        return "number"

    @property
    def loss_name(self) -> str:
        """The loss, as the model card calls it."""
        return "zero-inflated lognormal likelihood"
