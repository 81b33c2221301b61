"""Memory and network by the formulas, and as a network and its steps need them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args
from unittest import mock

import pytest
import torch
from torch import Tensor

from recsys_mtl import parallel
from recsys_mtl.memory import in_bytes
from recsys_mtl.model.sizing import Placement, Sizing
from recsys_mtl.wiring.network import build_network
from recsys_mtl.wiring.run import build_step
from tests.training.conftest import SPEC, make_config, make_rows
from tests.training.test_sequences import rows_with_sequences, spec_of

ROWS = 64
CASES = {
    "pooled": (SPEC, make_rows, {}),
    "sequences": (spec_of({"name": "mean"}), rows_with_sequences, {}),
    "a combiner": (SPEC, make_rows, {"combiner": {"name": "cagt"}}),
    "tables of tasks": (SPEC, make_rows, {"stem": True}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_step_sends_what_the_formula_says(case: str) -> None:
    """Two processes of equal rows: one gathers its own rows twice."""
    spec, rows_of, sections = CASES[case]
    if "stem" in sections:
        model = make_config().model.model_dump(exclude_unset=True)
        sections = {"model": model | {"architecture": "stem"}}
    config = make_config(training={"batch_size": ROWS}, **sections)
    sent: list[int] = []

    def summed(tensor: Tensor) -> Tensor:
        sent.append(tensor.nbytes)
        return 2 * tensor.detach()

    def gathered(tensor: Tensor) -> list[Tensor]:
        sent.append(tensor.nbytes)
        return [tensor, tensor]

    two: dict[str, Any] = {"several": lambda: True, "world": lambda: 2, "rank": lambda: 0}
    with mock.patch.multiple(parallel, **two, summed=summed, gathered=gathered):
        step = build_step(config, build_network(config, spec), torch.device("cpu"))
        rows = rows_of(ROWS // 2)
        assert step(rows).updated
    combined = step.combining.exchanged if step.combining else 0
    sizing = Sizing.of(step.network, rows, batch_size=ROWS, combined=combined)
    assert sizing.sent(1) == 0
    assert sizing.sent(2) == pytest.approx(sum(sent), rel=0.02)


def test_memory_is_that_of_the_tensors() -> None:
    config = make_config(training={"tables": {"name": "adagrad"}})
    step = build_step(config, build_network(config, SPEC), torch.device("cpu"))
    rows = make_rows(ROWS)
    assert step(rows).updated
    dense = step.network.dense_parameters()
    held = [*dense, *(p.grad for p in dense if p.grad is not None)]
    for state in step.optimizer.state.values():
        held += [value for value in state.values() if value.dim()]
    held += step.network.embeddings.accumulators().values()
    held += step.network.state_dict().values()  # of the best epoch
    held += step.network.embeddings.weights()
    sizing = Sizing.of(step.network, rows, batch_size=ROWS)
    assert sizing.memory() == pytest.approx(sum(tensor.nbytes for tensor in held), rel=0.02)


def test_the_formulas() -> None:
    """By hand: 2 processes, 10 rows, 3 numbers and 2 ids a row, 100 dense weights."""
    sizing = Sizing(
        dense=100, tables=800, states=80, looked_up=3, ids=2, batch_size=10, combined=50
    )
    assert sizing.memory(2) == 4 * (500 + 1680)
    assert sizing.memory(2, "row") == sizing.memory(2, "table") == 4 * (500 + 840)
    with mock.patch("recsys_mtl.model.sizing.LARGEST_IN_MEMORY", 4 * 899):  # the best in a file
        assert sizing.memory() == 4 * (400 + 880)
    assert sizing.sent(2) == 4 * 150 + 5 * (4 * 3 + 8 * 2)
    assert sizing.sent(2, "table") == 4 * 150 + (2 * 5 * 4 * 3 + 5 * 8 * 2) / 2
    assert sizing.sent(2, "row") == 4 * 150 + (2 * 10 * 4 * 3 + 5 * 8 * 2) / 2
    assert sizing.sent(4) == 6 / 4 * 4 * 150 + 3 * 2.5 * (4 * 3 + 8 * 2)


SCALING = Path(__file__).parents[2] / "docs" / "scaling.md"
IN_TABLE = dict(zip(["in each", "by table", "by row"], get_args(Placement), strict=True))


def test_the_table_of_the_docs_is_computed() -> None:
    lines = re.findall(r"^\| ([\d.]+) M \| ([\d.]+) M × (\d+) \|(.*)\|$", SCALING.read_text(), re.M)
    assert len(lines) == 8
    for rows, table_rows, dim, rest in lines:
        processes, placement, memory, sent, hours = map(str.strip, rest.split("|"))
        count, width, where = int(processes), int(dim), IN_TABLE[placement]
        ids = round(float(table_rows) * 1e6)
        sizing = Sizing(3_100_000, ids * width, ids, looked_up=26 * width, ids=26, batch_size=8192)
        seconds = sizing.epoch(
            round(float(rows) * 1e6),
            speed=7178,
            bandwidth=10e9 / 8,
            processes=count,
            placement=where,
        )
        assert memory == in_bytes(sizing.memory(count, where))
        assert sent == (in_bytes(sizing.sent(count, where)) if count > 1 else "")
        assert hours == f"{seconds / 3600:.1f} h"
