"""A tower per task, with optional logit transfer between tasks.

Shapes: B rows, T tasks, D tower input width.
"""

from __future__ import annotations

from collections.abc import Sequence
from graphlib import CycleError, TopologicalSorter
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.errors import did_you_mean, wrong
from recsys_mtl.model.device import LOOPING
from recsys_mtl.model.grouped import GroupedLinear, GroupedMLP, HiddenLayers
from recsys_mtl.tasks import kind_of

_WHERE = "model.logit_transfer"
_TRANSFER_SCALE = 0.5
FEW_ROWS = 64
"""Up to so many rows of a prediction, a product by task costs more than one of all tasks."""


def tower_waves(tasks: Sequence[str], transfer: Sequence[tuple[str, str]]) -> list[list[int]]:
    """Task indices in waves: a task's wave follows the waves of all its sources.

    Args:
        tasks: task names.
        transfer: (source, target) pairs.

    Raises:
        UserError: a pair names an unknown task, occurs twice, or the pairs form a cycle.
    """
    graph: dict[str, set[str]] = {task: set() for task in tasks}
    for source, target in transfer:
        for name in (source, target):
            if name not in graph:
                raise wrong(
                    "unknown task",
                    where=_WHERE,
                    expected=f"one of: {', '.join(tasks)}",
                    found=name,
                    fix=did_you_mean(name, tasks),
                )
        if source in graph[target]:
            raise wrong(
                "the same transfer twice",
                where=_WHERE,
                expected="each pair of tasks once",
                found=f"{source} -> {target}",
                fix="delete one of them",
            )
        graph[target].add(source)
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as error:
        raise wrong(
            "logit transfers form a cycle",
            where=_WHERE,
            expected="a directed graph without cycles",
            found=" -> ".join(error.args[1]),
            fix="delete one of these transfers",
        ) from error
    waves = []
    while sorter.is_active():
        ready = sorter.get_ready()
        waves.append(sorted(tasks.index(task) for task in ready))
        sorter.done(*ready)
    return waves


class LogitTransfer(nn.Module):
    """The term that a source task's output adds to a target's tower input.

    `scale · SiLU(LayerNorm(Linear(prediction)))`; `scale` is a buffer:
    a schedule may fade it to zero.
    """

    scale: Tensor

    def __init__(self, outputs: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(outputs, width)
        self.norm = nn.LayerNorm(width)
        self.register_buffer("scale", torch.tensor(_TRANSFER_SCALE))

    def forward(self, prediction: Tensor) -> Tensor:
        """(B, outputs) to (B, D)."""
        return self.scale * F.silu(self.norm(self.linear(prediction)))


class Towers(nn.Module):
    """Every task's hidden layers, run as one batch per wave, and its output layer.

    The output layer computes in float32 under autocast too: half precision would round the
    predictions to three digits.

    Args:
        tasks: T tasks.
        in_features: D.
        hidden: widths of the hidden layers; may be empty.
        layers: the hidden layers.
        members: k, each with an output layer of its own.
        transfer: (source, target) pairs of logit transfer.

    Raises:
        UserError: see `tower_waves`.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        in_features: int,
        hidden: Sequence[int],
        *,
        layers: HiddenLayers,
        members: int = 1,
        transfer: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        names = [task.name for task in tasks]
        self.waves = tower_waves(names, transfer)
        self.hidden = nn.ModuleList(
            GroupedMLP(len(wave), in_features, hidden, layers) for wave in self.waves
        )
        width = hidden[-1] if hidden else in_features
        self.members = members
        sizes = {(task.outputs, bool(task.items)) for task in tasks}
        self._alike = members == 1 and len(sizes) == 1 and not tasks[0].items
        self.heads = nn.ModuleList(
            nn.Linear(width, task.outputs)
            if members == 1
            else GroupedLinear(members, width, task.outputs)
            for task in tasks
        )
        with torch.no_grad():
            for task, head in zip(tasks, self.heads, strict=True):
                head.get_parameter("bias").copy_(kind_of(task.kind).output_bias(task))
        self.sources = [
            [(names.index(s), edge) for edge, (s, t) in enumerate(transfer) if t == name]
            for name in names
        ]
        self.transfers = nn.ModuleList(
            LogitTransfer(tasks[names.index(source)].outputs, in_features) for source, _ in transfer
        )

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(T, B, D) to task -> (B, outputs) float32; unit vectors for tasks with items.

        The rows of k members follow one another: B is k times the rows of a batch.
        """
        outputs: dict[int, Tensor] = {}
        for wave, hidden in zip(self.waves, self.hidden, strict=True):
            inputs = x if len(self.waves) == 1 else self._inputs(x, wave, outputs)
            rows = hidden(inputs)
            with torch.autocast(x.device.type, enabled=False):
                outputs |= zip(wave, self._outputs(wave, rows.float()), strict=True)
        return {task.name: outputs[index] for index, task in enumerate(self.tasks)}

    def _inputs(self, x: Tensor, wave: Sequence[int], outputs: dict[int, Tensor]) -> Tensor:
        """(tasks of the wave, B, D) tower inputs, including the transfers of other tasks."""
        inputs = []
        for index in wave:
            h = x[index]
            for source, edge in self.sources[index]:
                h = h + self.transfers[edge](outputs[source]).to(h.dtype)
            inputs.append(h)
        return torch.stack(inputs)

    def _outputs(self, wave: Sequence[int], h: Tensor) -> Sequence[Tensor]:
        """(tasks of the wave, B, last hidden width) to (B, outputs) of each, in float32."""
        together: dict[int, Tensor] = {}
        if not torch.compiler.is_exporting():  # of any number of rows
            few = self._alike and not torch.is_grad_enabled() and h.shape[1] <= FEW_ROWS
            if few or h.device.type not in LOOPING:
                together = self._together(wave, h)
        each = zip(wave, h.unbind(0), strict=True)
        return [together[i] if i in together else self._output(i, own) for i, own in each]

    def _together(self, wave: Sequence[int], h: Tensor) -> dict[int, Tensor]:
        """`_output` of the tasks of which others have as many outputs, in one product each."""
        outputs: dict[int, Tensor] = {}
        plain = [i for i in wave if not self.tasks[i].items and self.members == 1]
        for width in dict.fromkeys(self.tasks[i].outputs for i in plain):
            of = [i for i in plain if self.tasks[i].outputs == width]
            if len(of) > 1:
                heads = [cast(nn.Linear, self.heads[i]) for i in of]
                weight = torch.stack([head.weight for head in heads])
                bias = torch.stack([head.bias for head in heads])
                rows = h if len(of) == len(wave) else torch.stack([h[wave.index(i)] for i in of])
                products = torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
                outputs |= zip(of, products.unbind(0), strict=True)
        return outputs

    def _output(self, index: int, h: Tensor) -> Tensor:
        """(B, last hidden width) to (B, outputs)."""
        rows = h if self.members == 1 else h.view(self.members, -1, h.shape[-1])
        output: Tensor = self.heads[index](rows)
        if self.members > 1:
            output = torch.cat(output.unbind(0))  # flatten fixes the rows of an export
        return F.normalize(output, dim=-1) if self.tasks[index].items else output
