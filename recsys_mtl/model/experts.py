"""Expert networks by kind, and banks of them that share one output width.

Shapes: C copies of a bank (one for the shared experts, T for the tasks' own), E experts a copy,
B rows, I inputs, D common output width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recsys_mtl.model.grouped import GroupedLinear, GroupedMLP, HiddenLayers
from recsys_mtl.model.members import MemberInputs, multiplied

ExpertKind = Literal["mlp", "cross", "fm"]
MatchWidth = Literal["project", "scale"]


@dataclass(frozen=True)
class ExpertGroup:
    """Experts of one kind and shape.

    Attributes:
        kind: mlp, cross (DCN-v2) or fm (DeepFM's pairwise part).
        count: number of experts.
        hidden: widths of an mlp's layers, the last one its output.
        layers: cross layers.
        fields: projections whose pairs an fm multiplies.
        width: output width of cross and fm.
    """

    kind: ExpertKind = "mlp"
    count: int = 1
    hidden: tuple[int, ...] = (128, 64)
    layers: int = 2
    fields: int = 8
    width: int = 64

    @property
    def out_width(self) -> int:
        """Width of an expert's output before widths are matched."""
        return self.hidden[-1] if self.kind == "mlp" else self.width


class CrossExperts(nn.Module):
    """G cross networks, `x_{l+1} = x_0 ⊙ (W_l x_l + b_l) + x_l`, then Linear to `width`.

    Wang et al., DCN V2, WWW 2021, equation 1.
    """

    def __init__(self, groups: int, in_features: int, layers: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            GroupedLinear(groups, in_features, in_features) for _ in range(layers)
        )
        self.project = GroupedLinear(groups, in_features, width)

    def forward(self, inputs: Tensor | MemberInputs) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, width)."""
        crossed = x = multiplied(inputs)
        for layer in self.layers:
            crossed = torch.addcmul(crossed, x, layer(crossed).to(x.dtype))
        projected: Tensor = self.project(crossed)
        return projected


class FmExperts(nn.Module):
    """G factorisation machines, `½ ((Σ_f v_f)² − Σ_f v_f²)` with `v_f = W_f x + b_f`.

    The pairwise part of Guo et al., DeepFM, IJCAI 2017, equation 2, over learned projections.
    """

    def __init__(self, groups: int, in_features: int, fields: int, width: int) -> None:
        super().__init__()
        self.fields = fields
        self.project = GroupedLinear(groups, in_features, fields * width)

    def forward(self, x: Tensor | MemberInputs) -> Tensor:
        """(B, I) or (G, B, I) to (G, B, width)."""
        v: Tensor = self.project(x).unflatten(-1, (self.fields, -1))
        return 0.5 * (v.sum(-2).square() - v.square().sum(-2))


def make_experts(
    group: ExpertGroup, *, copies: int, in_features: int, layers: HiddenLayers
) -> nn.Module:
    """`copies` × `group.count` experts: (B, I) or (G, B, I) to (G, B, group.out_width)."""
    groups = copies * group.count
    if group.kind == "cross":
        return CrossExperts(groups, in_features, group.layers, group.width)
    if group.kind == "fm":
        return FmExperts(groups, in_features, group.fields, group.width)
    return GroupedMLP(groups, in_features, group.hidden, layers)


class ExpertBank(nn.Module):
    """All shared experts, or every task's own experts, with one output width.

    Args:
        groups: the experts of one copy; experts are numbered over the groups in order.
        copies: 1 for shared experts, T for the tasks' own.
        in_features: I.
        out_features: D, not below any expert's width.
        scale_to: None projects narrower experts to D; a mean width zero-pads them to D and
            scales each expert by sqrt(mean width / its width), equal gate weights then
            mean equal contributions.
        layers: hidden layers of mlp experts.
    """

    def __init__(
        self,
        groups: Sequence[ExpertGroup],
        *,
        copies: int,
        in_features: int,
        out_features: int,
        scale_to: float | None,
        layers: HiddenLayers,
    ) -> None:
        super().__init__()
        self.copies = copies
        self.out_features = out_features
        self.counts = tuple(group.count for group in groups)
        self.experts = nn.ModuleList(
            make_experts(group, copies=copies, in_features=in_features, layers=layers)
            for group in groups
        )
        self.scales = tuple(
            1.0 if scale_to is None else (scale_to / group.out_width) ** 0.5 for group in groups
        )
        self.projections = nn.ModuleList(
            nn.Identity()
            if scale_to is not None or group.out_width == out_features
            else GroupedLinear(copies * group.count, group.out_width, out_features)
            for group in groups
        )

    def forward(self, x: Tensor | MemberInputs) -> Tensor:
        """(B, I) or (C, B, I) to (C, E, B, D)."""
        outputs = []
        parts = zip(self.experts, self.projections, self.scales, self.counts, strict=True)
        for expert, project, scale, count in parts:
            own = x
            if isinstance(x, Tensor) and x.dim() == 3 and count > 1:
                own = x.repeat_interleave(count, 0)
            y = project(expert(own))
            if y.shape[-1] < self.out_features:
                y = F.pad(y, (0, self.out_features - y.shape[-1]))
            if scale != 1.0:
                y = y * scale
            outputs.append(y.unflatten(0, (self.copies, count)))
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)

    def parameters_per_expert(self) -> list[list[tuple[nn.Parameter, int]]]:
        """(parameter, index on its dim 0) of every expert of the first copy, in order."""
        first = self.named_parameters_per_expert()[: sum(self.counts)]
        return [[(p, index) for _, p, index in expert] for expert in first]

    def named_parameters_per_expert(self) -> list[list[tuple[str, nn.Parameter, int]]]:
        """(name in the expert, parameter, index on its dim 0), copy by copy, expert by expert."""
        return [
            [
                (name, p, copy * count + index)
                for module in (expert, project)
                for name, p in module.named_parameters()
            ]
            for copy in range(self.copies)
            for expert, project, count in zip(
                self.experts, self.projections, self.counts, strict=True
            )
            for index in range(count)
        ]

    def last_layers(self) -> list[tuple[nn.Parameter, int]]:
        """(parameter, index on its dim 0) of the last affine map of each expert."""
        parameters = []
        for expert, project, count in zip(self.experts, self.projections, self.counts, strict=True):
            maps = [m for m in (*expert.modules(), project) if isinstance(m, GroupedLinear)]
            parameters += [(p, index) for index in range(count) for p in maps[-1].parameters()]
        return parameters
