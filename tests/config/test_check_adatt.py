from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.config import Config, config_from_yaml, dump_config
from recsys_mtl.config.check import contradictions
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.errors import UserError

TASKS = {
    "click": {"kind": "binary"},
    "buy": {"kind": "binary"},
    "spend": {"kind": "regression"},
    "next": {"kind": "retrieval"},
}


def config(adatt: dict[str, Any], **sections: Any) -> Config:
    return Config.model_validate(
        {
            "name": "shop",
            "data": {"path": "rows.parquet"},
            "features": {"age": {"kind": "numeric"}},
            "tasks": TASKS,
            "adatt": adatt,
        }
        | sections
    )


def group(*tasks: str) -> dict[str, Any]:
    return {"tasks": list(tasks), "strength": 0.8}


def groups(**named: dict[str, Any]) -> dict[str, Any]:
    return {"prior": {"groups": named}}


def architecture(name: str, **rest: Any) -> dict[str, Any]:
    features = {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}}
    return {"features": features, "model": {"architecture": name, **rest}}


def donors(**named: list[str]) -> dict[str, Any]:
    return {"borrow": {"donors": named}}


LOGITS = {"measure": {"name": "logit_correlation"}}
SINGLE = architecture("single_task")
CASES: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    *[({"mechanism": name}, {}, []) for name in ("loss", "gradient", "borrow")],
    (groups(a=group("click", "buy"), b=group("spend")), {}, []),
    (
        groups(a=group("click", "by")),
        {},
        ["adatt.prior.groups.a.tasks.1: unknown task -> did you mean 'buy'?"],
    ),
    (
        groups(a=group("click", "buy"), b=group("spend", "click")),
        {},
        ["adatt.prior.groups.b.tasks.1: 'click' is in group 'a' too"],
    ),
    (
        groups(a=group("click", "click")),
        {},
        ["adatt.prior.groups.a.tasks.1: 'click' is in group 'a' too"],
    ),
    (donors(buy=["click", "spend"], next=["click"]), {}, []),
    (donors(by=["click"]), {}, ["adatt.borrow.donors.by: unknown task -> did you mean 'buy'?"]),
    (
        donors(buy=["clik"]),
        {},
        ["adatt.borrow.donors.buy: unknown task -> did you mean 'click'?"],
    ),
    (
        donors(buy=["next"]),
        {},
        ["adatt.borrow.donors.buy: retrieval task 'next' has no labels that a head can learn"],
    ),
    (donors(buy=["click", "buy"]), {}, ["adatt.borrow.donors.buy: 'buy' lends to itself"]),
    (
        {"mechanism": "loss"},
        {"tasks": {"click": {"kind": "binary"}}},
        ["adatt.mechanism: transfer needs two tasks or more -> use mechanism: off"],
    ),
    ({}, {"tasks": {"click": {"kind": "binary"}}}, []),
    *[
        (
            {"mechanism": "gradient", **measure},
            SINGLE,
            [
                "adatt.mechanism: single_task has no shared experts to measure or transfer on -> "
                "use architecture ple, or mechanism: off"
            ],
        )
        for measure in ({}, LOGITS)
    ],
    (
        {"mechanism": "loss"},
        SINGLE,
        [
            "adatt.mechanism: single_task has no shared experts to measure or transfer on -> "
            "use architecture ple, or mechanism: off"
        ],
    ),
    ({"mechanism": "loss", **LOGITS}, SINGLE, []),
    ({"mechanism": "borrow", **LOGITS}, SINGLE, []),
    ({}, SINGLE, []),
    (
        {"mechanism": "gradient"},
        architecture("ple", levels=2),
        ["model.levels: mechanism gradient needs one level"],
    ),
    ({"mechanism": "loss"}, architecture("ple", levels=2), []),
    *[
        (
            {"mechanism": "borrow"},
            architecture(name),
            [
                f"adatt.mechanism: mechanism borrow needs experts of each task, {name} has none -> "
                "use architecture ple"
            ],
        )
        for name in ("mmoe", "shared_bottom")
    ],
    *[({"mechanism": "gradient"}, architecture(name), []) for name in ("mmoe", "shared_bottom")],
    *[
        (
            {"mechanism": "gradient"},
            architecture(name),
            [
                f"adatt.mechanism: mechanism gradient scales a mixture of shared experts, {name} "
                "has none -> use architecture ple, or mechanism: loss"
            ],
        )
        for name in ("aitm", "home", "stem")
    ],
    *[
        ({"mechanism": m}, architecture(n), [])
        for m in ("loss", "borrow")
        for n in ("home", "stem")
    ],
    ({"mechanism": "loss"}, architecture("aitm"), []),
    (
        {"mechanism": "loss"},
        {"model": {"architecture": {"name": "aitm", "chain": ["buy", "spend"]}}},
        [
            "adatt.mechanism: aitm has no shared experts to measure or transfer on -> "
            "use architecture ple, or mechanism: off"
        ],
    ),
    (
        {"mechanism": "borrow", "warmup_epochs": 0},
        {},
        ["adatt.warmup_epochs: mechanism borrow counts labels during the warm-up"],
    ),
    ({"mechanism": "loss", "warmup_epochs": 0}, {}, []),
    (
        {"mechanism": "loss", "measure": {"name": "averaged_gradient", "scope": "expert"}},
        {},
        ["adatt.measure.scope: averaged_gradient measures nothing on experts"],
    ),
    ({"mechanism": "loss", "measure": {"scope": "expert"}}, {}, []),
]


@pytest.mark.parametrize(("adatt", "sections", "expected"), CASES)
def test_contradictions(
    adatt: dict[str, Any], sections: dict[str, Any], expected: list[str]
) -> None:
    findings = contradictions(config(adatt, **sections))
    problems = [
        f"{dotted(item.path)}: {item.what}" + (f" -> {item.fix}" if item.fix else "")
        for item in findings
    ]
    assert problems == expected


def test_all_of_them_come_together() -> None:
    wrong = {"mechanism": "borrow", "warmup_epochs": 0, **groups(a=group("clik"))}
    findings = contradictions(config(wrong | donors(buy=["buy"]), **architecture("mmoe")))
    assert len(findings) == 4


def problems(adatt: str) -> list[str]:
    text = (
        "name: shop\ndata: {path: rows.parquet}\nfeatures: {age: {kind: numeric}}\n"
        f"tasks: {{click: {{kind: binary}}, buy: {{kind: binary}}}}\nadatt: {adatt}\n"
    )
    with pytest.raises(UserError) as caught:
        config_from_yaml(text, where="a.yaml")
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(("freeze", "warmup"), [(3, 3), (2, 3), (7, 9)])
def test_freezing_within_the_warm_up_names_both(freeze: int, warmup: int) -> None:
    written = f"{{warmup_epochs: {warmup}" + (f", freeze_epoch: {freeze}}}" if freeze < 7 else "}")
    assert problems(written) == [
        f"a.yaml:5: adatt: freeze_epoch ({freeze}) must be more than warmup_epochs ({warmup}), "
        "to leave an epoch in which weights adapt"
    ]


DONORS = "one of measured, uniform or a mapping to a list of texts"
WRONG = {
    "{mechanism: los}": "adatt.mechanism: unknown choice; expected one of off, loss, gradient, "
    "borrow; found \"los\" -> did you mean 'loss'?",
    "{freeze_epochs: 3}": "adatt.freeze_epochs: unknown key -> did you mean 'freeze_epoch'?",
    "{threshold: -2}": "adatt.threshold: value out of range; expected at least -1.0; found -2",
    "{max_ratio: -1}": "adatt.max_ratio: value out of range; expected at least 0.0; found -1",
    "{borrow: {donors: unifrom}}": f"adatt.borrow.donors: unknown choice; expected {DONORS}; "
    "found \"unifrom\" -> did you mean 'uniform'?",
    "{borrow: {donors: {buy: click}}}": f"adatt.borrow.donors: wrong type; expected {DONORS}; "
    'found {"buy": "click"}',
}


@pytest.mark.parametrize("written", WRONG)
def test_a_wrong_value_is_one_line(written: str) -> None:
    assert problems(written) == [f"a.yaml:5: {WRONG[written]}"]


def test_off_needs_no_quotes_and_what_is_dumped_reads_back() -> None:
    made = config({"mechanism": "off", **donors(buy=["click"]), **groups(a=group("buy", "click"))})
    assert config_from_yaml(dump_config(made), where="dumped") == made
    text = dump_config(made).replace("'off'", "off").replace('"off"', "off")
    assert config_from_yaml(text, where="a.yaml").adatt.mechanism == "off"
