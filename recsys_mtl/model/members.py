"""Members: several networks for little more than the cost of one, by rows of the same products.

Shapes: k members, B rows, I inputs of the experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


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
        widths: columns of each feature; their sum is I.

    Attributes:
        scale: (k, features); None for one member.
    """

    scale: nn.Parameter | None
    feature: Tensor

    def __init__(self, count: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.count = count
        if count == 1:
            self.register_parameter("scale", None)
            return
        self.scale = nn.Parameter(torch.randint(2, (count, len(widths))).float() * 2 - 1)
        feature = torch.arange(len(widths)).repeat_interleave(torch.tensor(widths))
        self.register_buffer("feature", feature, persistent=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """(…, B, I) to (…, k · B, I)."""
        if self.scale is None:
            return inputs
        factors = self.scale[:, self.feature]
        return (inputs.unsqueeze(-3) * factors.unsqueeze(1)).flatten(-3, -2)

    def mean(self, values: Tensor) -> Tensor:
        """(k · B, …) to the members' mean, (B, …)."""
        return self.split(values).mean(0)

    def split(self, values: Tensor) -> Tensor:
        """(k · B, …) to (k, B, …)."""
        return values.view(self.count, -1, *values.shape[1:])
