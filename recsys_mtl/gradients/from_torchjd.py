"""torchjd's weightings as combiners; the only file of gradients that imports torchjd.

torchjd receives one block's Gram matrix at a time, prepared in three ways:

- Tasks whose gradient in the block is zero are left out there, as absent tasks are everywhere: with
  a zero row MGDA and CAGrad would return zero.
- The matrix is divided by its trace, in float64. torchjd treats traces below 1e-4 as zero: on such
  blocks, which are common late in training, CAGrad returns zero and UPGrad and DualProj the mean.
  No method's direction depends on the scale; where its length does, the method puts it back.
- Random draws come from the seed and the step (`own_draws`): torchjd draws from torch's global
  generator, which is the training's.

The weights are as published, so their scale is each method's own: most are means over the present
tasks where `sum` is a sum. A step whose solver fails is skipped (`Combiner.combine`).

Shapes: P present tasks, N ≤ P of them with a gradient that is not zero in a block, K blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from recsys_mtl.gradients.combiner import Combiner, GradientCombiner, GramCombiner, UnsolvedError
from recsys_mtl.gradients.diagnostics import cosines_of, weighted_length
from recsys_mtl.gradients.draws import own_draws
from recsys_mtl.gradients.partition import Partition

ScaleMode = Literal["min", "median", "rmse"]

_ROUNDING = 1e-8  # a length relative to 1 whose square vanishes in float64


def _torchjd() -> Any:
    """Imported by the first combiner that needs it: the others train without it."""
    from torchjd import aggregation

    return aggregation


class Weighted(GramCombiner):
    """A combiner with torchjd's weights, block by block.

    Args:
        tasks: T.
        partition: the blocks.
        weighting: torchjd's.
        seed: of its random draws; the same on every process.
    """

    def __init__(
        self, tasks: int, partition: Partition, weighting: nn.Module, *, seed: int = 0
    ) -> None:
        super().__init__(tasks, partition)
        self.weighting = weighting
        self.seed = seed

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """(K, P); 0 where a gradient is zero."""
        weights = torch.zeros(grams.shape[:2], dtype=grams.dtype)
        with own_draws(self.seed, step, grams.device):
            for block, gram in enumerate(grams):
                some = (gram.diagonal() > 0).nonzero().squeeze(1)
                if len(some):
                    weights[block, some] = self._solved(gram[some][:, some], block, tasks[some])
        return weights

    def _solved(self, gram: Tensor, block: int, tasks: Tensor) -> Tensor:
        trace = float(gram.diagonal().double().sum())
        unit = gram.double() / trace
        try:
            return self.solve(unit, trace=trace, block=block, tasks=tasks).to(gram)
        except (ValueError, LinAlgError) as error:
            raise UnsolvedError(
                f"{type(self).__name__}: no weights in block {block}: {error}"
            ) from error

    def solve(self, unit: Tensor, *, trace: float, block: int, tasks: Tensor) -> Tensor:
        """The weights of one block.

        Args:
            unit: (N, N) Gram matrix, divided by its trace.
            trace: that.
            block: its number.
            tasks: (N,) the tasks' indices.

        Returns:
            (N,).
        """
        weights: Tensor = self.weighting(unit)
        return weights


class PCGrad(Weighted):
    """PCGrad (Yu et al. 2020, arXiv:2001.06782): projects conflicts out, in random order."""

    def __init__(self, tasks: int, partition: Partition, *, seed: int = 0) -> None:
        super().__init__(tasks, partition, _torchjd().PCGradWeighting(), seed=seed)


class GradVac(Weighted):
    """GradVac (Wang et al. 2021, arXiv:2010.05874): raises cosines to their moving average.

    torchjd keeps the averages φ of a fixed set of tasks; here they are a buffer of all tasks and
    blocks, and each call receives those of the tasks that take part.

    Args:
        tasks: T.
        partition: the blocks.
        seed: of the random order.
        beta: share of the newest cosine in the average.
    """

    weighting: Any
    averages: Tensor

    def __init__(
        self, tasks: int, partition: Partition, *, seed: int = 0, beta: float = 0.5
    ) -> None:
        super().__init__(tasks, partition, _torchjd().GradVacWeighting(beta), seed=seed)
        size = (partition.blocks, tasks, tasks)
        self.register_buffer("averages", torch.zeros(size, dtype=torch.float64))

    def solve(self, unit: Tensor, *, trace: float, block: int, tasks: Tensor) -> Tensor:
        """The weights; moves the averages."""
        averages, pairs = self.averages[block], (tasks.unsqueeze(1), tasks)
        self.weighting._phi_t = averages.cpu()[pairs].to(unit)
        self.weighting._state_key = (len(tasks), unit.dtype)  # else torchjd starts from zeros
        weights: Tensor = self.weighting(unit)
        averages[pairs] = self.weighting._phi_t.to(averages)
        self.weighting.reset()  # else a second copy is in the state_dict
        return weights


class MGDA(Weighted):
    """MGDA (Sener and Koltun 2018, algorithm 2): the shortest convex combination.

    It is never longer than the shortest gradient: a task that has converged stops all others.
    Their code can therefore compute the weights with all gradients made length 1 (`normalize`); the
    paper does not mention it.

    Args:
        tasks: T.
        partition: the blocks.
        epsilon: the Frank-Wolfe step below which the solver stops.
        max_iters: its largest number of iterations.
        normalize: whether the weights are those of the gradients' directions.
    """

    def __init__(
        self,
        tasks: int,
        partition: Partition,
        *,
        epsilon: float = 1e-3,
        max_iters: int = 100,
        normalize: bool = False,
    ) -> None:
        super().__init__(tasks, partition, _torchjd().MGDAWeighting(epsilon, max_iters))
        self.normalize = normalize

    def solve(self, unit: Tensor, *, trace: float, block: int, tasks: Tensor) -> Tensor:
        """As in `Weighted`."""
        if self.normalize:
            unit = cosines_of(unit.unsqueeze(0))[0].squeeze(0)
        return super().solve(unit, trace=trace, block=block, tasks=tasks)


class CAGrad(Weighted):
    """CAGrad (Liu et al. 2021, arXiv:2110.14048): the best worst task within c of the mean.

    torchjd treats it as a Pareto-stationary point, and returns zero, where a convex combination is
    below 1e-4 of the gradients' lengths: one task that has converged is enough, and all others
    stop. Here only rounding counts as zero, and the result is then the mean, which the authors'
    code approaches as that combination vanishes.

    Args:
        tasks: T.
        partition: the blocks.
        c: radius around the mean gradient, in its lengths; 0 is the mean.
    """

    def __init__(self, tasks: int, partition: Partition, *, c: float = 0.4) -> None:
        super().__init__(tasks, partition, _torchjd().CAGradWeighting(c, norm_eps=_ROUNDING))

    def solve(self, unit: Tensor, *, trace: float, block: int, tasks: Tensor) -> Tensor:
        """As in `Weighted`."""
        from cvxpy.error import SolverError  # an extra of torchjd's, which no other method needs

        try:
            weights = super().solve(unit, trace=trace, block=block, tasks=tasks)
        except SolverError as error:
            raise ValueError(str(error)) from error
        return weights if bool(weights.any()) else torch.full_like(weights, 1 / len(weights))


class FairGrad(Weighted):
    """FairGrad (Ban and Ji 2024, arXiv:2402.15638, equation 4): G w = w^(−1/α).

    Small gradients give large weights (at α = 1 the result is √P long, whatever the gradients), so
    separate blocks would not fit together: it takes full gradients only. Where a convex
    combination of the gradients is zero there is no solution, and the solver's last guess is used.

    Args:
        tasks: T.
        partition: one block.
        alpha: fairness: 1 is Nash-MTL's direction, more favours the task that gains least.
        max_iters: most evaluations of the solver; only gradients that have no solution reach it.
    """

    blockwise = False

    def __init__(
        self, tasks: int, partition: Partition, *, alpha: float = 2.0, max_iters: int = 50
    ) -> None:
        if alpha <= 0:
            raise ValueError(f"alpha: expected above 0, found {alpha}")
        super().__init__(tasks, partition, _torchjd().FairGradWeighting(alpha, max_iters))
        self.power = -alpha / (1 + alpha)

    def solve(self, unit: Tensor, *, trace: float, block: int, tasks: Tensor) -> Tensor:
        """The weights: for t G' they are t^(−α / (1 + α)) times those of G'."""
        grown = float(trace**self.power)
        return super().solve(unit, trace=trace, block=block, tasks=tasks) * grown


class NashMTL(FairGrad):
    """Nash-MTL (Navon et al. 2022, arXiv:2202.01017, algorithm 1): G w = 1 / w.

    torchjd's own needs the solver ECOS, which our environment lacks; the equation is that of
    FairGrad at α = 1, whose solver is used instead. The result is √P long before it is shortened
    to `max_norm`: with the published 1 every step is of length 1.

    Args:
        tasks: T.
        partition: one block.
        max_norm: the largest length of the combined gradient; 0: no limit.
        max_iters: as in FairGrad.
    """

    def __init__(
        self, tasks: int, partition: Partition, *, max_norm: float = 1.0, max_iters: int = 50
    ) -> None:
        if max_norm < 0:
            raise ValueError(f"max_norm: expected 0 or more, found {max_norm}")
        super().__init__(tasks, partition, alpha=1.0, max_iters=max_iters)
        self.max_norm = max_norm

    def weights(self, grams: Tensor, *, tasks: Tensor, step: int) -> Tensor:
        """(1, P)."""
        weights = super().weights(grams, tasks=tasks, step=step)
        length = float(weighted_length(grams, weights)[0])
        return weights * (self.max_norm / length) if 0 < self.max_norm < length else weights


class IMTLG(Weighted):
    """IMTL-G (Liu et al. 2021): equal projections on all unit gradients; weights sum to 1.

    The line is ConFIG's. Where the unscaled weights sum to less than zero, scaling their sum to 1
    reverses the step, against every task; near zero it makes it very long.
    """

    def __init__(self, tasks: int, partition: Partition) -> None:
        super().__init__(tasks, partition, _torchjd().IMTLGWeighting())


class AlignedMTL(Weighted):
    """Aligned-MTL (Senushkin et al. 2023, algorithm 1): makes the gradients' system orthogonal.

    Args:
        tasks: T.
        partition: the blocks.
        scale_mode: which eigenvalue all are set to: the least, the median or the mean.
    """

    def __init__(self, tasks: int, partition: Partition, *, scale_mode: ScaleMode = "min") -> None:
        if scale_mode not in get_args(ScaleMode):
            expected = " | ".join(get_args(ScaleMode))
            raise ValueError(f"scale_mode: expected {expected}, found {scale_mode}")
        super().__init__(tasks, partition, _torchjd().AlignedMTLWeighting(scale_mode=scale_mode))


class DualProj(Weighted):
    """The mean on the cone of steps that harm no task (Lopez-Paz and Ranzato 2017, eq. 11)."""

    def __init__(self, tasks: int, partition: Partition) -> None:
        super().__init__(tasks, partition, _torchjd().DualProjWeighting())


class UPGrad(Weighted):
    """UPGrad (Quinton and Rey 2024, arXiv:2406.16232): the mean of each gradient's projection."""

    def __init__(self, tasks: int, partition: Partition) -> None:
        super().__init__(tasks, partition, _torchjd().UPGradWeighting())


class Random(Weighted):
    """Random weights (Lin et al. 2022, arXiv:2111.10603), a litmus test: softmax of normal draws.

    Each block draws its own.
    """

    def __init__(self, tasks: int, partition: Partition, *, seed: int = 0) -> None:
        super().__init__(tasks, partition, _torchjd().RandomWeighting(), seed=seed)


class GradDrop(GradientCombiner):
    """GradDrop (Chen et al. 2020, arXiv:2010.06808): per entry only one sign, drawn by its share.

    It works on entries, not on Gram matrices; blocks do not matter to it. Of columns that are split
    over processes it draws for all rows and takes the own, so that the number of processes does not
    matter either.

    Args:
        tasks: T.
        partition: the blocks of the diagnostics.
        seed: of the random draws; the same on every process.
    """

    def __init__(self, tasks: int, partition: Partition, *, seed: int = 0) -> None:
        super().__init__(tasks, partition)
        self.seed = seed

    def mix(self, rows: Sequence[Tensor], *, step: int) -> list[Tensor]:
        """torchjd's, tensor by tensor."""
        drop: Callable[[Tensor], Tensor] = _torchjd().GradDrop()
        splits, mixed = self.partition.splits, []
        with own_draws(self.seed, step, rows[0].device):
            for index, part in enumerate(rows):
                split = splits.get(index)
                own = drop(part if split is None else split.to_all(part))
                mixed.append(own if split is None else split.to_own(own, part[0]))
        return mixed


TORCHJD: dict[str, Callable[..., Combiner]] = {
    "pcgrad": PCGrad,
    "gradvac": GradVac,
    "mgda": MGDA,
    "cagrad": CAGrad,
    "nash_mtl": NashMTL,
    "imtl_g": IMTLG,
    "aligned_mtl": AlignedMTL,
    "dualproj": DualProj,
    "upgrad": UPGrad,
    "fairgrad": FairGrad,
    "graddrop": GradDrop,
    "random": Random,
}
