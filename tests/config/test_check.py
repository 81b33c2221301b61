from __future__ import annotations

from typing import Any

import pytest

from recsys_mtl.config import Config, config_from_yaml, dump_config, label_of
from recsys_mtl.config.check import contradictions
from recsys_mtl.config.yaml_text import dotted

BASE: dict[str, Any] = {
    "name": "shop",
    "data": {"path": "rows.parquet"},
    "features": {"age": {"kind": "numeric"}, "city": {"kind": "categorical"}},
    "tasks": {
        "click": {"kind": "binary"},
        "buy": {"kind": "binary", "only_where": "click == 1"},
        "spend": {"kind": "regression"},
        "next": {"kind": "retrieval"},
    },
}


def merged(base: Any, change: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(change, dict)):
        return change
    return base | {key: merged(base.get(key), value) for key, value in change.items()}


def problems(change: dict[str, Any]) -> list[str]:
    config = Config.model_validate(merged(BASE, change))
    return [f"{dotted(item.path)}: {item.what}" for item in contradictions(config)]


def model(**change: Any) -> dict[str, Any]:
    return {"model": change}


def transfers(*edges: tuple[str, str]) -> dict[str, Any]:
    return model(logit_transfer=[{"source": source, "target": target} for source, target in edges])


def stop_on(metric: str) -> dict[str, Any]:
    return {"training": {"early_stopping": {"metric": metric}}}


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"training": {"compile": "graph"}}, []),
    (
        {
            "training": {"compile": "graph", "device": "cpu"},
            "balancing": {"name": "famo"},
            "combiner": {"name": "sum", "diagnostics": 5},
        },
        [
            "training.compile: graph is of CUDA",
            "training.compile: combiner needs more than one pass in a step, a graph gives one",
            "training.compile: balancing needs more than one pass in a step, a graph gives one",
        ],
    ),
    (
        {"features": {"years": {"kind": "numeric", "column": "age"}}},
        [],
    ),
    (
        {"features": {"years": {"kind": "numeric", "column": "click"}}},
        ["tasks.click: label column 'click' is also a feature"],
    ),
    (
        {
            "features": {"years": {"kind": "numeric", "column": "w"}},
            "data": {"ignore": ["w"], "weight": "w"},
        },
        [
            "data.weight: weight column 'w' is also a feature",
            "data.ignore.0: ignored column 'w' is also a feature",
        ],
    ),
    (
        {"tasks": {"click": {"label": "age"}}},
        ["tasks.click.label: label column 'age' is also a feature"],
    ),
    (
        {"features": {"click": {"kind": "numeric"}}},
        ["tasks.click: label column 'click' is also a feature"],
    ),
    ({"data": {"ignore": ["spend"]}}, ["tasks.spend: label column 'spend' is also in data.ignore"]),
    ({"data": {"weight": "spend"}}, ["tasks.spend: label column 'spend' is also data.weight"]),
    (
        {"data": {"split": {"kind": "group", "column": "buy"}}},
        ["tasks.buy: label column 'buy' is also data.split.column"],
    ),
    ({"data": {"weight": "age"}}, ["data.weight: weight column 'age' is also a feature"]),
    (
        {"data": {"ignore": ["x", "age"]}},
        ["data.ignore.1: ignored column 'age' is also a feature"],
    ),
    (
        {"data": {"ignore": ["w"], "weight": "w"}},
        ["data.ignore.0: ignored column 'w' is also data.weight"],
    ),
    ({"data": {"ignore": ["*"]}}, []),
    (
        {"features": {"a\0": {"kind": "numeric"}}},
        ["features.a\0: a column name without NUL is needed"],
    ),
    (
        {"tasks": {"shared": {"kind": "binary"}}},
        ["tasks.shared: 'shared' is the name of the shared experts"],
    ),
    (
        {"tasks": {"again": {"kind": "binary", "label": "buy", "label_share": 0.5}}},
        ["tasks.again.label_share: tasks of one label column share its labels"],
    ),
    (
        {"tasks": {"again": {"kind": "binary", "label": "buy", "only_where": " click  == 1"}}},
        ["tasks.again.label: task 'again' is task 'buy' again"],
    ),
    ({"tasks": {"buy_all": {"kind": "binary", "label": "buy"}}}, []),
    ({"tasks": {"other": {"kind": "binary", "label": "click", "positive": "2"}}}, []),
    (
        {"data": {"split": {"kind": "fraction", "valid": 0.6, "test": 0.4}}},
        ["data.split: leaves no training rows"],
    ),
    (
        {"data": {"split": {"kind": "group", "column": "id", "valid": 0.0, "test": 0.0}}},
        ["data.split.valid: leaves no rows", "data.split.test: leaves no rows"],
    ),
    (
        {"data": {"split": {"kind": "time", "column": "d", "valid_from": 5, "test_from": 5}}},
        ["data.split: leaves no rows for valid"],
    ),
    (
        {"data": {"split": {"kind": "time", "column": "d", "valid_from": 5, "test_from": "x"}}},
        ["data.split: valid_from and test_from differ in type"],
    ),
    ({"data": {"split": {"kind": "files", "valid": "a", "test": "b"}}}, []),
    (
        model(architecture="mmoe", levels=2),
        ["model.levels: several levels belong to ple"],
    ),
    (
        model(architecture="mmoe", task_experts=[{"kind": "fm"}]),
        ["model.task_experts: mmoe has no task experts"],
    ),
    (
        model(architecture="shared_bottom", gates={"preferred": {"click": ["shared.0"]}}),
        ["model.gates.preferred: shared_bottom has no gates that may prefer an expert"],
    ),
    (
        model(architecture="single_task", logit_transfer=[{"source": "click", "target": "buy"}]),
        ["model.logit_transfer: single_task shares nothing between tasks"],
    ),
    (
        model(gates={"preferred": {"clik": ["shared.0"], "buy": ["shared.1", "buy.0"]}}),
        ["model.gates.preferred.clik: unknown task"],
    ),
    (
        model(gates={"preferred": {"buy": ["shared.2", "buy.1", "click.0"]}}),
        [f"model.gates.preferred.buy.{i}: not an expert of task 'buy'" for i in range(3)],
    ),
    (
        model(architecture="mmoe", gates={"preferred": {"buy": ["shared.1", "buy.0"]}}),
        ["model.gates.preferred.buy.1: not an expert of task 'buy'"],
    ),
    *[(model(architecture=name), []) for name in ("aitm", "pepnet", "home", "stem")],
    *[
        (model(architecture=n, levels=2), ["model.levels: several levels belong to ple"])
        for n in ("aitm", "pepnet", "home", "stem")
    ],
    (
        model(architecture={"name": "aitm", "chain": ["click", "by", "click"]}),
        [
            "model.architecture.chain.1: unknown task",
            "model.architecture.chain.2: task 'click' is there twice",
        ],
    ),
    (
        model(architecture={"name": "aitm", "chain": ["click", "buy"], "calibrator": 1.0}),
        [
            "model.architecture.calibrator: no two neighbours of the chain are binary tasks of the "
            "same rows"
        ],
    ),
    (
        {"tasks": {"open": {"kind": "binary"}}}
        | model(architecture={"name": "aitm", "chain": ["open", "click"], "calibrator": 1.0}),
        [],
    ),
    (
        model(architecture={"name": "pepnet", "domain": ["town"], "prior": ["age", "age"]}),
        [
            "model.architecture.domain.0: unknown feature",
            "model.architecture.prior.1: feature 'age' is there twice",
        ],
    ),
    (
        {"features": {"hot_*": {"kind": "numeric"}}}
        | model(architecture={"name": "pepnet", "domain": ["hot_7"], "prior": ["hot_*"]}),
        [],
    ),
    (
        model(architecture={"name": "pepnet", "prior": []}),
        ["model.architecture.prior: pepnet needs features for its gates"],
    ),
    *[
        (
            model(architecture="pepnet", task_experts=experts),
            ["model.task_experts: pepnet has one network a task"],
        )
        for experts in ([{"kind": "fm"}], [{"kind": "mlp", "count": 2}], [{"kind": "mlp"}] * 2)
    ],
    (
        model(architecture="home", shared_experts=[{"kind": "mlp"}, {"kind": "cross"}]),
        ["model.shared_experts: home has one kind of experts"],
    ),
    (
        model(architecture="stem", gates={"preferred": {"click": ["shared.0"]}}),
        ["model.gates.preferred: stem has no gates that may prefer an expert"],
    ),
    (
        {"features": {"city": {"kind": "numeric"}}} | model(architecture="stem"),
        ["model.architecture: stem needs features with a table"],
    ),
    (
        {"features": {"city@buy": {"kind": "categorical"}}} | model(architecture="stem"),
        ["features.city@buy: stem calls a table of a task like this feature"],
    ),
    (transfers(("click", "buy"), ("buy", "spend"), ("click", "spend")), []),
    (transfers(("clik", "buy")), ["model.logit_transfer.0.source: unknown task"]),
    (transfers(("click", "by")), ["model.logit_transfer.0.target: unknown task"]),
    (transfers(("buy", "buy")), ["model.logit_transfer.0: task 'buy' transfers to itself"]),
    (
        transfers(("click", "buy"), ("click", "buy")),
        ["model.logit_transfer.1: transfer click -> buy is there twice"],
    ),
    (
        transfers(("click", "buy"), ("buy", "spend"), ("spend", "click")),
        ["model.logit_transfer: logit transfers form a cycle"],
    ),
    (
        transfers(("next", "buy")),
        ["model.logit_transfer.0.source: retrieval task 'next' has no logit to transfer"],
    ),
    ({"tasks": {"next": {"table": "city"}}}, []),
    (
        {"tasks": {"next": {"table": "town", "dim": 8, "max_items": 9, "null_values": ["-"]}}},
        [
            "tasks.next.table: no feature reads this table",
            "tasks.next.dim: dim is that of table 'town'",
            "tasks.next.max_items: max_items is that of table 'town'",
            "tasks.next.null_values: null_values is that of table 'town'",
        ],
    ),
    (
        {
            "features": {"city": {"encoding": "hash", "buckets": 9}},
            "tasks": {"next": {"table": "city"}},
        },
        ["tasks.next.table: table 'city' keeps no values that could be retrieved"],
    ),
    (
        {"training": {"precision": "fp16", "device": "cpu"}},
        ["training.precision: fp16 does not train on a cpu"],
    ),
    (stop_on("click/auc"), []),
    (stop_on("next/recall_at_5"), []),
    (
        stop_on("next/recall_at_7"),
        ["training.early_stopping.metric: no metric of a retrieval task"],
    ),
    (stop_on("spend/auc"), ["training.early_stopping.metric: no metric of a regression task"]),
    (stop_on("clik/auc"), ["training.early_stopping.metric: unknown task"]),
    (stop_on("auc"), ["training.early_stopping.metric: unknown metric"]),
    (
        {"tasks": {"buy": {"only_where": None, "through": "click", "counterfactual": "dr"}}},
        [],
    ),
    (
        {"tasks": {"buy": {"through": "click"}}},
        [
            "tasks.buy.only_where: with through the rows of 'buy' are those of 'click'",
        ],
    ),
    ({"tasks": {"click": {"through": "clik"}}}, ["tasks.click.through: unknown task"]),
    (
        {"tasks": {"click": {"through": "spend"}}},
        [
            "tasks.click.through: task 'spend' is no event that happens or not",
        ],
    ),
    (
        {"tasks": {"click": {"through": "click"}}},
        ["tasks.click.through: tasks go through each other in a cycle"],
    ),
    (
        {"tasks": {"click": {"entire_space": False, "counterfactual": "ips"}}},
        [
            "tasks.click.entire_space: entire_space has no effect without through",
            "tasks.click.counterfactual: counterfactual has no effect without through",
        ],
    ),
    (
        {
            "tasks": {
                "buy": {
                    "only_where": None,
                    "through": "click",
                    "counterfactual": "ips",
                    "loss": "focal",
                }
            }
        },
        ["tasks.buy.loss: a counterfactual term is of cross-entropy"],
    ),
    (
        {
            "training": {"tables": {"sharding": "row"}},
            "model": {"embedding": {"backend": "plain"}},
            "tasks": {"next": {"table": "city"}},
        },
        [
            "training.tables.sharding: only TorchRec's tables can be spread over processes",
            "training.tables.sharding: task 'next' compares with all rows of table 'city'",
        ],
    ),
]


@pytest.mark.parametrize(("change", "expected"), CASES)
def test_contradictions(change: dict[str, Any], expected: list[str]) -> None:
    assert problems(change) == expected


def test_a_cycle_is_named_in_its_direction() -> None:
    edges = transfers(("click", "buy"), ("buy", "spend"), ("spend", "click"))
    (finding,) = contradictions(Config.model_validate(merged(BASE, edges)))
    assert finding.found in {
        "click -> buy -> spend -> click",
        "buy -> spend -> click -> buy",
        "spend -> click -> buy -> spend",
    }


def test_many_come_together_with_the_nearest_name() -> None:
    change = merged(stop_on("click/acu"), transfers(("clik", "buy")))
    findings = contradictions(Config.model_validate(merged(BASE, change)))
    assert [finding.fix for finding in findings] == ["did you mean 'click'?", "did you mean 'auc'?"]


def test_a_dumped_config_contradicts_nothing_that_the_written_one_did_not() -> None:
    config = Config.model_validate(merged(BASE, model(architecture="shared_bottom")))
    assert contradictions(config) == []
    assert config_from_yaml(dump_config(config), where="dumped") == config


def test_an_architecture_without_settings_is_dumped_as_its_name() -> None:
    dumped = [
        Config.model_validate(merged(BASE, model(architecture=choice))).model_dump()["model"]
        for choice in ("mmoe", {"name": "stem"}, {"name": "home", "rank": 4})
    ]
    assert [each["architecture"] for each in dumped] == [
        *("mmoe", "stem"),
        {"name": "home", "loras": 2, "rank": 4},
    ]


def test_labels_and_metrics_are_known_for_every_kind() -> None:
    config = Config.model_validate(merged(BASE, {"tasks": {"click": {"label": "clicked"}}}))
    labels = [label_of(name, task) for name, task in config.tasks.items()]
    assert labels == ["clicked", "buy", "spend", "next"]
    for task in config.tasks.values():
        names = task.metric_names([1, 5])
        assert task.main in names
        assert set(task.summary) <= set(names)
