"""The peer of the combiners' bench: our training step with torchjd's own path in its middle.

Forward pass, losses, clipping, optimizer and the one update of the tables are those of
`TrainingStep`; from the losses to the `.grad` of everything it is torchjd.

Shapes: B rows, T tasks, S shared experts, D width, P pooled embedding width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchjd.aggregation import MGDA, Aggregator, CAGrad, PCGrad, UPGrad
from torchjd.autojac import backward, jac_to_grad, mtl_backward

from recsys_mtl.data.batch import Batch
from recsys_mtl.gradients.draws import own_draws
from recsys_mtl.model import Outputs
from recsys_mtl.model.device import autocast
from recsys_mtl.training.all_rows import AllRows
from recsys_mtl.training.step import TrainingStep

AGGREGATORS = {
    "pcgrad": PCGrad,
    "cagrad": lambda: CAGrad(c=0.4),
    "upgrad": UPGrad,
    "mgda": lambda: MGDA(epsilon=1e-3, max_iters=100),
}


@dataclass(frozen=True)
class Way:
    """How torchjd is asked.

    Attributes:
        heads_once: whether one pass of the sum gives every task's gradient at the mixtures, which
            `torchjd.autojac.backward` then takes on as `jac_tensors`; else `mtl_backward` from the
            losses, which passes through all heads once a task, as they are one module.
        chunk: tasks a pass below the features; None: all, in torch.vmap.
        summed: `optimize_gramian_computation`.
    """

    heads_once: bool
    chunk: int | None
    summed: bool


WAYS = {
    f"{path}, {'all tasks' if chunk is None else 'one task'} a pass"
    + (", summed Gramians" if summed else ""): Way(path == "backward", chunk, summed)
    for path in ("mtl_backward", "backward")
    for chunk in (None, 1)
    for summed in (False, True)
}


class TorchjdStep:
    """A step as `TrainingStep` takes it, the tasks' gradients made and combined by torchjd.

    What the tasks share are the shared experts and the cut; both paths give its Jacobian too. The
    tasks' gates and experts read a copy of the inputs: from the inputs themselves, autograd would
    count what passes through the shared experts twice.
    """

    def __init__(self, step: TrainingStep, method: str, way: Way, *, seed: int) -> None:
        self.step = step
        self.aggregator: Aggregator = AGGREGATORS[method]()
        self.way = way
        self.seed = seed
        network = step.network
        self.shared = list({id(p): p for _, _, p, _ in network.shared_parameters()}.values())
        known = {id(p) for p in self.shared}
        self.others = [p for p in network.dense_parameters() if id(p) not in known]

    def __call__(self, batch: Batch, number: int = 0) -> bool:
        """Train on one batch; whether the parameters changed."""
        step, network = self.step, self.step.network
        cut = network.cut(batch)
        (leaf,) = cut.leaf()
        with autocast(step._precision, step.device):
            inputs = network.inputs_of(cut.leaf(), batch)
            copy = inputs.view_as(inputs)
            copies = copy.expand(len(network.tasks), -1, -1)
            outputs = network.from_inputs(inputs, copies, batch)
        every = AllRows.of(step.losses, batch)
        losses, counts = step._losses(outputs, cut.leaf(), batch, every)
        present = counts > 0
        assert bool(torch.isfinite(losses.detach()).all())
        assert bool(present.all())
        weighted = step.balancer.weighted(losses, present)
        step.optimizer.zero_grad(set_to_none=True)
        if self.way.heads_once:
            self._from_mixtures(weighted, outputs, leaf, copies, copy)
        else:
            self._from_losses(weighted, outputs, leaf, copy)
        self._combine(leaf, number)
        if outputs.penalty.requires_grad:
            everything = [*self.others, *self.shared, leaf]
            torch.autograd.backward(outputs.penalty, inputs=everything)
        return step._update(cut, torch.tensor(True))

    def _from_losses(self, losses: Tensor, outputs: Outputs, leaf: Tensor, copy: Tensor) -> None:
        """The documented path for several tasks."""
        mtl_backward(
            list(losses.unbind()),
            features=[outputs.mixed.common, copy],
            tasks_params=[self.others] * len(losses),
            shared_params=[*self.shared, leaf],
            retain_graph=True,
            parallel_chunk_size=self.way.chunk,
        )

    def _from_mixtures(
        self, losses: Tensor, outputs: Outputs, leaf: Tensor, copies: Tensor, copy: Tensor
    ) -> None:
        """Our shortcut through the heads, then torchjd below."""
        mixed = outputs.mixed
        ends = [mixed.tasks, copies, *self.others]
        at_mixture, at_copies, *actual = torch.autograd.grad(losses.sum(), ends, retain_graph=True)
        for parameter, gradient in zip(self.others, actual, strict=True):
            parameter.grad = gradient
        weights = self.step.network.shared_weights(mixed).to(at_mixture.dtype)
        backward(
            [mixed.common, copy],
            jac_tensors=[torch.einsum("tbs,tbd->tsbd", weights, at_mixture), at_copies],
            inputs=[*self.shared, leaf],
            retain_graph=True,
            parallel_chunk_size=self.way.chunk,
        )

    def _combine(self, leaf: Tensor, number: int) -> None:
        options = {"optimize_gramian_computation": True} if self.way.summed else {}
        with own_draws(self.seed, number, leaf.device):
            jac_to_grad([*self.shared, leaf], self.aggregator, **options)
