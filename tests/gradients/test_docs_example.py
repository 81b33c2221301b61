"""The example of docs/combiners.md, run as it stands there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from recsys_mtl.gradients import make_combiner

PAGE = Path(__file__).parents[2] / "docs" / "combiners.md"
STEPS = "range(50)"


def run(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    return names


@pytest.fixture(scope="module")
def code() -> str:
    (example,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    return str(example)


@pytest.fixture(scope="module")
def names(code: str) -> dict[str, Any]:
    return run(code)


def test_every_loss_goes_down(code: str, names: dict[str, Any]) -> None:
    assert STEPS in code
    first = run(code.replace(STEPS, "range(1)"))["losses"]
    for before, after in zip(first, names["losses"], strict=True):
        assert after < before


def test_the_trunk_has_the_combined_gradient(names: dict[str, Any]) -> None:
    fresh = make_combiner("cagt", 3, names["partition"])
    expected = fresh.combine(names["gradients"], names["present"], step=names["step"]).gradients
    for parameter, gradient in zip(names["trunk"].parameters(), expected, strict=True):
        assert torch.equal(parameter.grad.reshape(-1), gradient)


def test_it_is_not_the_plain_sum(names: dict[str, Any]) -> None:
    assert names["combined"].diagnostics.extra["conflicting"] > 0
    plain = torch.cat([rows.sum(0) for rows in names["gradients"]])
    assert not torch.allclose(torch.cat(names["combined"].gradients), plain, rtol=1e-3)


def test_heads_have_their_own_gradient(code: str) -> None:
    stepped = "        optimizer.step()\n"
    assert stepped in code
    names = run(code.replace(STEPS, "range(1)").replace(stepped, ""))
    hidden = names["trunk"](names["x"]).relu()
    for i, head in enumerate(names["heads"]):
        loss = (head(hidden).squeeze(1) - names["y"][:, i]).square().mean()
        expected = torch.autograd.grad(loss, list(head.parameters()), retain_graph=True)
        for parameter, gradient in zip(head.parameters(), expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)
