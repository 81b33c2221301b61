"""The section `combiner`: how the tasks' gradients of what they share become one."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from recsys_mtl.config.open_union import Members, OpenUnion
from recsys_mtl.config.section import NonNegative

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Cosine = Annotated[float, Field(ge=-1.0, le=1.0)]
BlockKind = Literal["all", "expert", "parameter", "fixed"]


class CombinerConfig(OpenUnion):
    """One of the registered methods, and what every one has."""

    members: ClassVar[Members] = {}
    tag: ClassVar[str] = "name"

    name: str
    block: BlockKind | None = Field(
        None,
        description="what is combined on its own: all, each shared expert, each parameter, or a "
        "fixed size; null: fixed for cagt, all for the others",
    )
    block_size: PositiveInt = Field(8192, description="entries of a block of `fixed`")
    diagnostics: PositiveInt | None = Field(
        None,
        description="steps between measurements of where tasks conflict; null: never for sum, "
        "which needs more passes to measure, and each step for the others",
    )

    rows: PositiveInt | None = Field(
        None,
        description="rows of a batch whose gradients give each task one weight; one backward pass "
        "of all rows then applies the weights, which is cheaper; null: all rows",
    )
    level: Literal["parameters", "features"] = Field(
        "parameters",
        description="features: weights from the gradients at the shared experts' outputs, the "
        "cheapest way, but another measure: its cosines are not those of the parameters",
    )

    @property
    def one_weight(self) -> bool:
        """Whether each task gets one weight, from some rows' gradients or at the features."""
        return self.rows is not None or self.level == "features"

    @property
    def blocks(self) -> BlockKind:
        """`block`, or what the method takes where it is null."""
        return self.block or "all"


@CombinerConfig.register
class SumConfig(CombinerConfig):
    """The plain sum: one backward pass of the total loss."""

    name: Literal["sum"] = "sum"


@CombinerConfig.register
class CagtConfig(CombinerConfig):
    """CAGT: conflicting tasks take over a mixture of the others' gradients."""

    name: Literal["cagt"]
    temperature: PositiveFloat = Field(0.6, description="τ of the softmax over peers")
    coefficient: Share = Field(0.2, description="base λ, the share of the mixture")
    threshold: Cosine = Field(0.0, description="δ: below this mean cosine a task conflicts")
    attention: Literal["cosine", "cosine_squared", "euclidean"] = Field(
        "cosine_squared", description="score that the softmax is applied to"
    )
    adaptive: bool = Field(True, description="λ follows step and conflicts, else it is fixed")
    preserve_norm: bool = Field(False, description="moved gradients get their old length back")
    active_steps: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the plain sum after so many steps; null: never"
    )

    @property
    def blocks(self) -> BlockKind:
        """`block`, or the paper's."""
        return self.block or ("all" if self.one_weight else "fixed")


@CombinerConfig.register
class PlainCombinerConfig(CombinerConfig):
    """Methods without options."""

    name: Literal["pcgrad", "config", "imtl_g", "dualproj", "upgrad", "graddrop", "random"]


@CombinerConfig.register
class GradVacConfig(CombinerConfig):
    """GradVac: raises cosines to their moving average."""

    name: Literal["gradvac"]
    beta: Share = Field(0.5, description="share of the newest cosine in the average")


@CombinerConfig.register
class MgdaConfig(CombinerConfig):
    """MGDA: the shortest convex combination."""

    name: Literal["mgda"]
    epsilon: PositiveFloat = Field(1e-3, description="step below which the solver stops")
    max_iters: PositiveInt = Field(100, description="most iterations of the solver")
    normalize: bool = Field(False, description="weights are those of the gradients' directions")


@CombinerConfig.register
class CaGradConfig(CombinerConfig):
    """CAGrad: the best worst task within a ball around the mean."""

    name: Literal["cagrad"]
    c: NonNegative = Field(0.4, description="radius of the ball, in lengths of the mean gradient")


@CombinerConfig.register
class AlignedMtlConfig(CombinerConfig):
    """Aligned-MTL: makes the gradients orthogonal and of one length."""

    name: Literal["aligned_mtl"]
    scale_mode: Literal["min", "median", "rmse"] = Field(
        "min", description="eigenvalue that all are set to"
    )


class WholeCombinerConfig(CombinerConfig):
    """What every method has that needs the full gradients."""

    block: Literal["all"] | None = Field(None, description="it needs the full gradients")
    max_iters: PositiveInt = Field(50, description="most evaluations of the solver")


@CombinerConfig.register
class FairGradConfig(WholeCombinerConfig):
    """FairGrad: every task gains alike, by α."""

    name: Literal["fairgrad"]
    alpha: PositiveFloat = Field(2.0, description="fairness; 1 is Nash-MTL's direction")


@CombinerConfig.register
class NashMtlConfig(WholeCombinerConfig):
    """Nash-MTL: the tasks bargain."""

    name: Literal["nash_mtl"]
    max_norm: NonNegative = Field(1.0, description="most length of the step's gradient; 0: any")
