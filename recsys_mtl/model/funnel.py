"""Tasks that only happen behind others: impression -> click -> cart -> purchase.

A tower gives the logit of its task given the one before; the probability of both is the product
(ESMM, Ma et al. 2018, equation 1). Everything is in logarithms: neither p nor 1 - p is ever formed.

Shapes: B rows, T tasks, D width of the mixtures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.model.grouped import HiddenLayers
from recsys_mtl.model.towers import Towers


class Funnel(nn.Module):
    """From the towers' logits to those of the events that they predict.

    Args:
        tasks: T tasks; `TaskSpec.through` names the one before.
        imputed: those with a tower that imputes the label where the one before did not happen.
        in_features: D.
        hidden: widths of that tower's hidden layers.
        layers: those hidden layers.
        members: see `Towers`.
    """

    def __init__(
        self,
        tasks: Sequence[TaskSpec],
        imputed: Sequence[str],
        in_features: int,
        hidden: Sequence[int],
        *,
        layers: HiddenLayers,
        members: int,
    ) -> None:
        super().__init__()
        parents = {task.name: task.through for task in tasks}
        self.chains = {task: _chain(task, parents) for task, parent in parents.items() if parent}
        indices = {task.name: index for index, task in enumerate(tasks)}
        self._imputed = {name: (indices[name], f"i{indices[name]}") for name in imputed}
        self.imputation = nn.ModuleDict(
            {
                key: Towers([tasks[i]], in_features, hidden, layers=layers, members=members)
                for i, key in self._imputed.values()
            }
        )

    def forward(self, logits: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Towers' logits by task, (B, 1) of those in chains, to those of all events of a chain."""
        joint = dict(logits)
        for task, chain in self.chains.items():
            joint[task] = joint_logit([logits[name] for name in chain])
        return joint

    def conditional(self, logits: Mapping[str, Tensor], mixed: Tensor) -> dict[str, Tensor]:
        """What the losses of tasks behind others need next to their joint logits.

        Args:
            logits: of the towers.
            mixed: (T, B, D) input of the towers.

        Returns:
            By task (B, 1) logits given that the task before happened, or (B, 2) with those of the
            imputed label.
        """
        given = {task: logits[task] for task in self.chains}
        for task, (index, key) in self._imputed.items():
            (imputed,) = self.imputation[key](mixed[index : index + 1]).values()
            given[task] = torch.cat([given[task], imputed], 1)
        return given


def joint_logit(logits: Sequence[Tensor]) -> Tensor:
    """The logit of the product of the sigmoids, float32: exact where a product would be 0 or 1."""
    with torch.autocast(logits[0].device.type, enabled=False):
        first, *others = (logit.float() for logit in logits)
        log_p, log_not = F.logsigmoid(first), F.logsigmoid(-first)
        for logit in others:  # 1 - p q = (1 - p) + p (1 - q)
            log_not = torch.logaddexp(log_not, log_p + F.logsigmoid(-logit))
            log_p = log_p + F.logsigmoid(logit)
        return log_p - log_not


def _chain(task: str, parents: Mapping[str, str | None]) -> tuple[str, ...]:
    """The task and all before it, the first one first."""
    chain = [task]
    while (parent := parents[chain[0]]) is not None:
        if parent in chain:
            raise ValueError(f"tasks go through each other in a cycle: {chain}")
        chain.insert(0, parent)
    return tuple(chain)
