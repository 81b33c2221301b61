"""The choices of `model.architecture`: how the inputs become one representation of each task.

A section also has the facts of its architecture that other sections need, and its contradictions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field, PositiveInt, SerializerFunctionWrapHandler, model_serializer

from recsys_mtl.config.experts import ExpertConfig, MlpExpertConfig
from recsys_mtl.config.explain import Finding, show
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.named import NamedUnion
from recsys_mtl.config.open_union import Members
from recsys_mtl.config.section import NonNegative
from recsys_mtl.config.tasks import TaskConfig
from recsys_mtl.config.yaml_text import KeyPath
from recsys_mtl.errors import did_you_mean

PATH: KeyPath = ("model", "architecture")


@dataclass(frozen=True)
class Surroundings:
    """The parts of a config that an architecture depends on."""

    tasks: Mapping[str, TaskConfig]
    features: Mapping[str, FeatureConfig]
    shared_experts: Sequence[ExpertConfig]
    task_experts: Sequence[ExpertConfig]


@dataclass(frozen=True)
class Facts:
    """What other sections have to know of an architecture.

    Attributes:
        own: there are experts of each task.
        shared: there are experts that all tasks share.
        common: anything between the inputs and the towers is shared by all tasks.
        deep: several levels are possible.
        preferred: `gates.preferred` names its experts.
        mixes_shared: a task's representation is a mixture of the shared experts and its own, so
            that mechanism `gradient` can scale the gradients of the shared ones.
        own_tables: each task has a table of each feature, in addition to the shared one.
    """

    own: bool = True
    shared: bool = True
    common: bool = True
    deep: bool = False
    preferred: bool = False
    mixes_shared: bool = False
    own_tables: bool = False


class ArchitectureConfig(NamedUnion):
    """One of the registered architectures; a name alone stands for its defaults."""

    members: ClassVar[Members] = {}

    name: str

    @model_serializer(mode="wrap")
    def _name_alone(self, handler: SerializerFunctionWrapHandler) -> Any:
        """A section that is only a name is dumped as this name."""
        values = handler(self)
        return values["name"] if len(values) == 1 else values

    def facts(self, around: Surroundings) -> Facts:
        """What other sections have to know."""
        del around
        return Facts()

    def alone(self) -> ArchitectureConfig:
        """What trains one of the tasks without the others."""
        return self

    def options(self, around: Surroundings) -> dict[str, Any]:
        """Its settings as plain values for the network."""
        del around
        return {key: getattr(self, key) for key in type(self).model_fields if key != "name"}

    def contradictions(self, around: Surroundings) -> Iterator[Finding]:
        """What does not fit the rest of the config."""
        del around
        yield from ()


@ArchitectureConfig.register
class ExpertsConfig(ArchitectureConfig):
    """Shared experts, task experts, gates (Tang et al. 2020).

    mmoe has no task experts; shared_bottom averages the shared experts, without gates; single_task
    has task experts only.
    """

    name: Literal["ple", "mmoe", "shared_bottom", "single_task"] = "ple"

    def facts(self, around: Surroundings) -> Facts:
        """By name."""
        alone = self.name == "single_task"
        return Facts(
            own=self.name in ("ple", "single_task"),
            shared=not alone,
            common=not alone,
            deep=self.name == "ple",
            preferred=self.name in ("ple", "mmoe"),
            mixes_shared=not alone,
        )


@ArchitectureConfig.register
class AitmConfig(ArchitectureConfig):
    """AITM: each task of a chain also reads its predecessor's representation (Xi et al. 2021)."""

    name: Literal["aitm"]
    chain: list[str] | None = Field(
        None, min_length=2, description="tasks, such as a funnel; null: all tasks in their order"
    )
    calibrator: NonNegative = Field(
        0.6,
        description="weight of the excess of a task's probability over its predecessor's; for "
        "neighbours in the chain that are both binary tasks of the same rows",
    )

    def tasks(self, around: Surroundings) -> list[str]:
        """The chain."""
        return list(around.tasks) if self.chain is None else self.chain

    def facts(self, around: Surroundings) -> Facts:
        """The first task's experts are shared by all if the chain holds all tasks."""
        of_all = set(self.tasks(around)) == set(around.tasks)
        return Facts(shared=of_all, common=of_all)

    def alone(self) -> ArchitectureConfig:
        """Without a chain a task's own experts are left."""
        return ExpertsConfig(name="single_task")

    def options(self, around: Surroundings) -> dict[str, Any]:
        """The chain, and the pairs of it that the calibrator compares."""
        chain = self.tasks(around)
        return {
            "chain": chain,
            "calibrator": self.calibrator,
            "calibrated": list(self._comparable(around)) if self.calibrator else [],
        }

    def contradictions(self, around: Surroundings) -> Iterator[Finding]:
        """A chain of other tasks, or nothing to calibrate."""
        yield from _unknown((*PATH, "chain"), self.chain or (), around.tasks, "task")
        if len(self.tasks(around)) < 2:
            yield Finding(PATH, "aitm needs two tasks or more", fix="use architecture ple")
        elif set(self.tasks(around)) <= set(around.tasks):
            default = type(self).model_fields["calibrator"].default  # which a dump spells out
            if self.calibrator not in (0, default) and not list(self._comparable(around)):
                what = "no two neighbours of the chain are binary tasks of the same rows"
                yield Finding((*PATH, "calibrator"), what, "0", show(self.calibrator))

    def _comparable(self, around: Surroundings) -> Iterator[tuple[str, str]]:
        """(predecessor, task) whose probabilities are of the same rows."""
        for before, after in pairwise(self.tasks(around)):
            sections = around.tasks[before], around.tasks[after]
            spaces = {section.only_where for section in sections}
            if all(section.is_event for section in sections) and len(spaces) == 1:
                yield before, after


@ArchitectureConfig.register
class PepnetConfig(ArchitectureConfig):
    """PEPNet: gates by prior features scale the inputs and each task's mlp (Chang et al. 2023)."""

    name: Literal["pepnet"]
    domain: list[str] = Field(
        [], description="features, such as the page, whose gate scales the inputs (EPNet)"
    )
    prior: list[str] | None = Field(
        None,
        description="features, such as user and item, whose gates scale every task's layers "
        "(PPNet); null: all with a table",
    )
    hidden: PositiveInt = Field(64, description="width of a gate's hidden layer")

    def facts(self, around: Surroundings) -> Facts:
        """All tasks share the gate of the inputs."""
        return Facts(shared=False, common=bool(self.domain))

    def options(self, around: Surroundings) -> dict[str, Any]:
        """The features by name."""
        return super().options(around) | {"prior": self._prior(around)}

    def contradictions(self, around: Surroundings) -> Iterator[Finding]:
        """Unknown features, no prior at all, or other experts than one mlp a task."""
        for key, names in (("domain", self.domain), ("prior", self.prior or ())):
            yield from _unknown((*PATH, key), names, around.features, "feature")
        if not self.domain and not self._prior(around):
            what = "pepnet needs features for its gates"
            yield Finding((*PATH, "prior"), what, fix="name some in domain or prior")
        experts = around.task_experts
        if len(experts) > 1 or not isinstance(experts[0], MlpExpertConfig) or experts[0].count > 1:
            what = "pepnet has one network a task"
            yield Finding(("model", "task_experts"), what, "one mlp of count 1")

    def _prior(self, around: Surroundings) -> list[str]:
        if self.prior is not None:
            return self.prior
        return [name for name, feature in around.features.items() if feature.has_table]


@ArchitectureConfig.register
class HomeConfig(ArchitectureConfig):
    """HoME: experts of all tasks, of groups of tasks and of each task (Wang et al. 2024).

    In two layers, with feature gates and self gates; all experts have the widest one's output
    width. Groups are those of `adatt.prior.groups`; tasks in none are one more.
    """

    name: Literal["home"]
    loras: PositiveInt = Field(2, description="low-rank maps that a feature gate mixes")
    rank: PositiveInt = Field(16, description="of each of them")

    def contradictions(self, around: Surroundings) -> Iterator[Finding]:
        """Experts that are not of one kind, mlp."""
        lists = {"shared_experts": around.shared_experts, "task_experts": around.task_experts}
        for key, experts in lists.items():
            if len(experts) > 1 or not isinstance(experts[0], MlpExpertConfig):
                yield Finding(("model", key), "home has one kind of experts", "one entry, an mlp")


@ArchitectureConfig.register
class StemConfig(ArchitectureConfig):
    """STEM: shared tables and tables of each task, with experts of each (Su et al. 2024).

    A task reads the other tasks' experts without training them.
    """

    name: Literal["stem"]

    def facts(self, around: Surroundings) -> Facts:
        """A table of each feature and task."""
        return Facts(own_tables=True)

    def contradictions(self, around: Surroundings) -> Iterator[Finding]:
        """Nothing to embed for each task."""
        names = [name for name, feature in around.features.items() if feature.has_table]
        if not names:
            what = "stem needs features with a table"
            yield Finding(PATH, what, fix="use architecture ple")
        for of_task in sorted({f"{n}@{t}" for n in names for t in around.tasks} & set(names)):
            what = "stem calls a table of a task like this feature"
            yield Finding(("features", of_task), what, fix="rename the feature with `column`")


def _unknown(
    path: KeyPath, names: Sequence[str], known: Mapping[str, Any], what: str
) -> Iterator[Finding]:
    """Names of nothing, or named twice."""
    for index, name in enumerate(names):
        if not any(name == one or fnmatchcase(name, one) for one in known):  # features: patterns
            fix = did_you_mean(name, known)
            yield Finding((*path, index), f"unknown {what}", found=show(name), fix=fix)
        elif name in names[:index]:
            yield Finding((*path, index), f"{what} '{name}' is there twice")
