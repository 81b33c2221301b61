"""The typed schema of a run's YAML: every key, its default and its meaning.

Nothing here reads a file or touches data. Contradictions inside one section are detected here;
contradictions between sections in `recsys_mtl.config.check`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt

from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.architecture import Facts, Surroundings
from recsys_mtl.config.balancing import BalancingConfig, PlainBalancingConfig
from recsys_mtl.config.combiner import CombinerConfig, SumConfig
from recsys_mtl.config.data import DataConfig
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.model import ModelConfig
from recsys_mtl.config.section import Name, Section
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.config.training import TrainingConfig


class EvaluationConfig(Section):
    """Settings of the metrics."""

    calibration_bins: Annotated[int, Field(gt=0, le=10_000)] = Field(
        15, description="bins of the calibration error"
    )
    top_k: list[PositiveInt] = Field(
        [1, 5, 10], min_length=1, description="the K of metrics at K; the largest is predicted"
    )
    groups: str | None = Field(
        None,
        description="column whose equal values are a list (user_id): adds GAUC, NDCG, hit rate and "
        "MRR within lists; need not be a feature",
    )
    segments: list[str] = Field(
        [], description="columns by whose values every test metric is reported apart, with its rows"
    )

    @property
    def keys(self) -> list[str]:
        """All these columns."""
        return [*([] if self.groups is None else [self.groups]), *self.segments]


class TrackingConfig(Section):
    """MLflow."""

    enabled: bool = Field(True, description="false: nothing is sent anywhere")
    uri: str | None = Field(None, description="else $MLFLOW_TRACKING_URI, else sqlite:///mlflow.db")
    experiment: str = Field("recsys_mtl", description="created where it does not exist")


class Config(Section):
    """One run."""

    name: Name = Field(description="run name in MLflow; runs/NAME is the default output folder")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(
        0, description="of the split, the initial weights, dropout and the order of rows"
    )
    data: DataConfig
    features: dict[Annotated[str, Field(min_length=1)], FeatureConfig] = Field(
        min_length=1, description="by column name, or a pattern of some: `onehot_*`"
    )
    tasks: dict[Name, TaskConfig] = Field(min_length=1, description="by a name of your choice")
    model: ModelConfig = ModelConfig()
    balancing: BalancingConfig = PlainBalancingConfig()
    adatt: AdaTTConfig = AdaTTConfig()
    combiner: CombinerConfig = SumConfig()
    training: TrainingConfig = TrainingConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    tracking: TrackingConfig = TrackingConfig()

    @property
    def surroundings(self) -> Surroundings:
        """What the architecture depends on."""
        model = self.model
        return Surroundings(self.tasks, self.features, model.shared_experts, model.task_experts)

    @property
    def facts(self) -> Facts:
        """What is to be known of the architecture."""
        return self.model.architecture.facts(self.surroundings)
