"""Members: several networks for little more than the cost of one, by rows of the same products.

Shapes: k members, B rows, I inputs of the experts, F features, G groups, O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A product by feature costs less than one by member unless F · G · O is larger than k · I by this
# factor: it is then bound by the memory of the products.
_WIDEST = 4


class Members(nn.Module):
    """The inputs of k members.

    A member scales every feature by a factor of its own and has output layers of its own; tables,
    experts, gates and towers are shared (Wen et al. 2020, "BatchEnsemble", section 3; Gorishniy et
    al. 2025, "TabM", section 3.3, the variant with an adapter at the input only, but with one
    factor a feature instead of one a column). Factors are learned and start as random signs.
    Without members (k = 1) nothing is scaled.

    The rows of a batch are repeated, member by member: (k · B, I).

    Args:
        count: k.
        parts: columns of each feature, for each tensor of columns that `of_columns` gets; their
            sum is I.

    Attributes:
        scale: (k, F); None for one member.
    """

    scale: nn.Parameter | None
    feature: Tensor

    def __init__(self, count: int, parts: Sequence[Sequence[int]]) -> None:
        super().__init__()
        self.count = count
        self.parts = [list(widths) for widths in parts]
        if count == 1:
            self.register_parameter("scale", None)
            return
        widths = [width for part in parts for width in part]
        self.scale = nn.Parameter(torch.randint(2, (count, len(widths))).float() * 2 - 1)
        feature = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
        self.register_buffer("feature", feature, persistent=False)
        self.runs = list(_runs(self.parts))

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, B, I) to (…, k · B, I)."""
        if self.scale is None:
            return inputs
        factors = self.scale[:, self.feature]
        return (inputs.unsqueeze(-3) * factors.unsqueeze(1)).flatten(-3, -2)

    def of_columns(self, columns: Sequence[Tensor]) -> Tensor | MemberInputs:
        """(B, width) columns, as many as `parts`, to inputs whose first product may be cheap."""
        if self.scale is None:
            return torch.cat(list(columns), 1)
        return MemberInputs(self, columns)

    def mean(self, values: Tensor) -> Tensor:
        """(k · B, …) to the members' mean, (B, …)."""
        return self.split(values).mean(0)

    def weights(self, of_rows: Tensor) -> Tensor:
        """(B,) of the rows to (k · B,)."""
        return of_rows if self.count == 1 else of_rows.repeat(self.count)

    def split(self, values: Tensor) -> Tensor:
        """(k · B, …) to (k, B, …)."""
        return values.view(self.count, -1, *values.shape[1:])


@dataclass(frozen=True)
class _Run:
    """Neighbouring features of one width in one tensor of columns.

    Attributes:
        part: index of the tensor.
        start: its first column there.
        offset: its first column of all.
        count: features.
        width: of each.
    """

    part: int
    start: int
    offset: int
    count: int
    width: int


def _runs(parts: Sequence[Sequence[int]]) -> Iterator[_Run]:
    offset = 0
    for index, widths in enumerate(parts):
        start = first = 0
        while first < len(widths):
            end = first
            while end < len(widths) and widths[end] == widths[first]:
                end += 1
            yield _Run(index, start, offset + start, end - first, widths[first])
            start += (end - first) * widths[first]
            first = end
        offset += start


@dataclass(frozen=True)
class MemberInputs:
    """The inputs of all members, (k · B, I), not yet multiplied out.

    A member scales a whole feature, so the sum over features of factor · (columns · weights) needs
    each feature's product once, not once a member.
    """

    members: Members
    columns: Sequence[Tensor]

    def multiplied(self) -> Tensor:
        """(k · B, I)."""
        inputs: Tensor = self.members(torch.cat(list(self.columns), 1))
        return inputs

    def linear(self, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The affine maps (G, O, I) and (G, O) of these inputs, (G, k · B, O)."""
        groups, outputs, inputs = weight.shape
        count, scale = self.members.count, self.members.scale
        assert scale is not None
        wide = weight.flatten(0, 1)
        flat = None if bias is None else bias.flatten()
        if len(wide) * scale.shape[1] > _WIDEST * count * inputs:
            product = F.linear(self.multiplied(), wide, flat)
        else:
            by_feature = torch.cat([self._products(run, wide) for run in self.members.runs])
            product = (scale @ by_feature.flatten(1)).view(-1, len(wide))
            product = product if flat is None else product + flat.to(product.dtype)
        return product.view(-1, groups, outputs).transpose(0, 1)

    def _products(self, run: _Run, weight: Tensor) -> Tensor:
        """(features of the run, B, G · O)."""
        end = run.count * run.width
        columns = self.columns[run.part][:, run.start : run.start + end]
        weights = weight[:, run.offset : run.offset + end]
        by_feature = -1, run.count, run.width
        return torch.bmm(
            columns.reshape(by_feature).transpose(0, 1),
            weights.reshape(by_feature).permute(1, 2, 0),
        )


def multiplied(inputs: Tensor | MemberInputs) -> Tensor:
    """Inputs as a tensor."""
    return inputs.multiplied() if isinstance(inputs, MemberInputs) else inputs
