from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.vision.reproduction.load import (
    load_reproduction,
    ready_plans,
    record,
    require_same,
)
from recsys_mtl.vision.reproduction.plan import Reproduction

Make = Callable[..., Reproduction]
CAGT = {"cagt": {"combiner": {"name": "cagt"}}}


def test_the_built_in_plans_are_loaded_by_name() -> None:
    assert ready_plans() == ("celeba", "rot-mnist")
    plan = load_reproduction("rot-mnist", ["training.epochs=3"])
    assert plan.training.epochs == 3
    assert [*plan.methods] == [
        *("sum", "single_task", "pcgrad", "gradnorm", "mgda", "mgda_normalized", "cagrad", "cagt")
    ]
    assert plan.published.methods["cagt"].loss == [0.2525, 0.021]
    celeba = load_reproduction("celeba")
    assert celeba.dataset.kind == "celeba"
    assert {*celeba.methods} == {*plan.methods}


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"methods": CAGT}, "reference: no such method; found sum"),
        ({"against": "cogt"}, "against: no such method; found cogt -> did you mean 'cagt'?"),
        (
            {"methods": CAGT | {"sum": {"alone": True, "balancing": "gradnorm"}}},
            "methods.sum.alone: a task alone has nothing to combine or balance",
        ),
        (
            {"methods": CAGT | {"sum": {"combiner": {"name": "mgda"}, "balancing": "gradnorm"}}},
            "methods.sum.balancing: gradnorm goes with the plain sum here",
        ),
        (
            {"methods": CAGT | {"sum": {"combiner": {"name": "sum", "diagnostics": 5}}}},
            "methods.sum.combiner: the plain sum has no options here",
        ),
        (
            {"methods": CAGT | {"sum": {"cambiner": {"name": "mgda"}}}},
            "methods.sum.cambiner: unknown key -> did you mean 'combiner'?",
        ),
        (
            {"methods": CAGT | {"sum": {"combiner": {"name": "mgdo"}}}},
            "methods.sum.combiner.name: unknown choice",
        ),
        (
            {"attention": {"over": "pcgrad"}},
            "attention.over: another combiner; expected a method with cagt; found pcgrad",
        ),
        (
            {"sweep": {"over": "x", "temperatures": [1], "coefficients": [0.1], "epochs": 1}},
            "sweep.over: no such method; found x",
        ),
        ({"weights": {"digits": 1.0}}, "weights.digits: no such task -> did you mean 'digit'?"),
        ({"dataset": {"kind": "celebb"}}, "dataset.kind: unknown choice"),
    ],
)
def test_contradictions_are_reported_with_their_key(
    make: Make, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        make(**keys)
    (problem,) = error.value.problems
    assert message in str(problem)


def test_a_name_that_is_no_plan_is_reported() -> None:
    with pytest.raises(UserError, match=r"rot-mnits: no such plan or file -> did you mean"):
        load_reproduction("rot-mnits")


def test_a_folder_is_for_one_reproduction(make: Make, tmp_path: Path) -> None:
    out = tmp_path / "out"
    require_same(make(), out)
    record(make(), out)
    require_same(make("training.epochs=5", "reruns=1", "methods.new.balancing=gradnorm"), out)
    with pytest.raises(UserError, match=r"another reproduction.*found another name, dataset ->"):
        require_same(make("name=other", "dataset.rows=null"), out)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").touch()
    with pytest.raises(UserError, match=r"the folder holds other files.*found notes.txt"):
        require_same(make(), other)
