from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_mtl.config import config_from_yaml, config_hash, dump_config, load_config, yaml_text
from recsys_mtl.errors import UserError

GOOD = """\
name: shop
data:
  path: rows.parquet
features:
  age: {kind: numeric}
  city: {kind: categorical}
tasks:
  click: {kind: binary}
"""


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        config_from_yaml(text, where="a.yaml", overrides=overrides)
    return [str(problem) for problem in caught.value.problems]


def edit(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


MISTAKES = {
    "unknown key": (
        edit("name: shop", "name: shop\ntrainin: {}"),
        "a.yaml:2: trainin: unknown key -> did you mean 'training'?",
    ),
    "unknown key in a union": (
        edit("{kind: numeric}", "{kind: numeric, transfrom: log1p}"),
        "a.yaml:5: features.age.transfrom: unknown key -> did you mean 'transform'?",
    ),
    "key of another kind": (
        edit("{kind: numeric}", "{kind: numeric, buckets: 3}"),
        "a.yaml:5: features.age.buckets: unknown key -> use one of: column, "
        "embedding, kind, null_values, transform",
    ),
    "wrong type": (
        edit("tasks:", "model: {levels: two}\ntasks:"),
        'a.yaml:7: model.levels: wrong type; expected a whole number; found "two"',
    ),
    "neither text nor list": (
        edit("rows.parquet", "[1, 2]"),
        "a.yaml:3: data.path: wrong type; expected text or a list of texts; found [1, 2]",
    ),
    "a section that is a value": (
        edit("{kind: numeric}", "numeric"),
        'a.yaml:5: features.age: wrong type; expected a mapping; found "numeric"',
    ),
    "missing key": (
        edit("  path: rows.parquet", "  format: csv"),
        "a.yaml:2: data.path: missing key; expected text or a list of texts",
    ),
    "missing kind": (
        edit("{kind: binary}", "{weight: 2}"),
        "a.yaml:8: tasks.click.kind: missing key; expected one of binary, multiclass, regression, "
        "retrieval, count, customer_value",
    ),
    "unknown kind": (
        edit("kind: binary", "kind: binray"),
        "a.yaml:8: tasks.click.kind: unknown choice; expected one of binary, multiclass, "
        "regression, retrieval, count, customer_value; found \"binray\" -> did you mean 'binary'?",
    ),
    "unknown choice": (
        edit("tasks:", "training: {precision: bf61}\ntasks:"),
        "a.yaml:7: training.precision: unknown choice; expected one of fp32, bf16, fp16; "
        "found \"bf61\" -> did you mean 'bf16'?",
    ),
    "out of range": (
        edit("tasks:", "model:\n  dropout: 1.5\ntasks:"),
        "a.yaml:8: model.dropout: value out of range; expected less than 1.0; found 1.5",
    ),
    "not finite": (
        edit("tasks:", "training: {tables: {learning_rate: .inf}}\ntasks:"),
        "a.yaml:7: training.tables.learning_rate: value out of range; expected a finite number; "
        "found Infinity",
    ),
    "decay that erases": (
        edit("tasks:", "training: {tables: {weight_decay: 50}}\ntasks:"),
        "a.yaml:7: training.tables: learning_rate times weight_decay is 1 or more: rows would be "
        "erased",
    ),
    "no tasks": (
        edit("  click: {kind: binary}", "  {}"),
        "a.yaml:7: tasks: value out of range; expected 1 or more entries; found {}",
    ),
    "task name with a space": (
        edit("  click:", "  my click:"),
        "a.yaml:8: tasks.my click: not a valid name; expected a letter or _, then letters, "
        "digits, '_', '.' or '-'; found \"my click\"",
    ),
    "name that is a number": (
        edit("  age:", "  7:"),
        "a.yaml:5: features.7: wrong type; expected text; found 7",
    ),
    "duplicate key": (
        edit("  city:", "  age:"),
        "a.yaml:6: features.age: duplicate key; found the same key in line 5 -> keep one of them",
    ),
    "contradiction in a section": (
        edit("{kind: categorical}", "{kind: categorical, encoding: hash}"),
        "a.yaml:6: features.city: encoding hash needs buckets",
    ),
    "contradiction between sections": (
        edit("{kind: binary}", "{kind: binary, label: age}"),
        "a.yaml:8: tasks.click.label: label column 'age' is also a feature -> drop the feature",
    ),
    "in a list": (
        edit("tasks:", "model:\n  shared_experts:\n    - {kind: fm, field: 3}\ntasks:"),
        "a.yaml:9: model.shared_experts.0.field: unknown key -> did you mean 'fields'?",
    ),
    "not YAML": (
        GOOD + "x: [1, 2\n",
        "a.yaml:10: not valid YAML: did not find expected ',' or ']'",
    ),
    "a tag that names code": (
        edit("name: shop", "name: !!python/object/apply:os.getcwd []"),
        "a.yaml:1: not valid YAML: the tag !!python/object/apply:os.getcwd, which means nothing "
        "here: leave it out",
    ),
    "empty": ("", "a.yaml: not a config; expected keys and values; found null"),
    "a list": ("- 1\n", "a.yaml: not a config; expected keys and values; found [1]"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_clear_line(mistake: str) -> None:
    text, expected = MISTAKES[mistake]
    assert problems(text) == [expected]


BAD_OVERRIDES = {
    "training.epoch=3": "training.epoch: unknown key -> did you mean 'epochs'?",
    "trainig.epochs=3": "trainig: unknown key -> did you mean 'training'?",
    "training.epochs=many": 'training.epochs: wrong type; expected a whole number; found "many"',
    "features.age.kind=numerical": "features.age.kind: unknown choice; expected one of "
    "categorical, categorical_list, sequence, numeric; "
    "found \"numerical\" -> did you mean 'numeric'?",
    "model.shared_experts.1.count=2": "model.shared_experts: no such list position; expected 0 to "
    "0; found 1",
    "name.x.y=2": "name: has no keys; expected a section or list; found shop",
    "data.split={kind: fraction, kind: time}": "kind: duplicate key; found the same key in line 1 "
    "-> keep one of them",
    "seed=[1": "not valid YAML: did not find expected ',' or ']'",
    "seed": "not an override; expected PATH=VALUE, such as training.epochs=3",
    "features.*.bin=4": "features.*.bin=4: a key that none of features has; found bin",
    "a..b=1": "not an override; expected PATH=VALUE, such as training.epochs=3",
}


@pytest.mark.parametrize("override", BAD_OVERRIDES)
def test_a_wrong_override_is_named(override: str) -> None:
    (line,) = problems(GOOD, override)
    assert line.startswith(f"--set {override}")
    assert line.endswith(BAD_OVERRIDES[override])


def test_all_problems_come_together() -> None:
    text = edit("kind: numeric", "kind: numric") + "  click: {kind: binary, wieght: 1}\nzzz: 1\n"
    lines = problems(text, "training.epochs=0", "nonsense", "model.dropout=true")
    wheres = [line.split(": ")[0] for line in lines]
    assert wheres == [
        "a.yaml:9",  # duplicate task
        "--set nonsense",
        "a.yaml:5",
        "a.yaml:9",  # its unknown key
        "--set model.dropout=true",
        "--set training.epochs=0",
        "a.yaml:10",
    ]


def test_overrides_reach_everything() -> None:
    config = config_from_yaml(
        GOOD + "  a.b: {kind: regression}\n",
        where="a.yaml",
        overrides=[
            "training.optimizer.learning_rate=1e-4",
            "features.age.transform=log1p",
            "tasks.a.b.loss=huber",
            "model.shared_experts.0.count=5",
            "data.split.valid=0.3",
            "features.day={kind: numeric}",
            "training.early_stopping.patience=",
            "data.path=[a.csv, b.csv]",
            "seed=3",
            "seed=4",
        ],
    )
    assert config.training.optimizer.learning_rate == 1e-4
    assert config.features["age"].model_dump()["transform"] == {"name": "log1p"}
    assert config.tasks["a.b"].model_dump()["loss"]["name"] == "huber"
    assert [expert.count for expert in config.model.shared_experts] == [5]
    assert config.data.split.model_dump()["valid"] == 0.3
    assert list(config.features) == ["age", "city", "day"]
    assert config.training.early_stopping.patience is None
    assert config.data.path == ["a.csv", "b.csv"]
    assert config.seed == 4


def test_a_star_is_every_entry_that_has_the_key() -> None:
    overrides = ["features.*.dim=4", "features.*.transform.name=log1p", "tasks.*.weight=2"]
    config = config_from_yaml(GOOD, where="a.yaml", overrides=overrides)
    assert config.features["city"].dim == 4
    assert config.features["age"].transform.name == "log1p"
    assert config.tasks["click"].weight == 2.0
    pattern = GOOD.replace("city:", '"*":')  # a feature of that name
    own = config_from_yaml(pattern, where="a.yaml", overrides=["features.*.dim=4"])
    assert own.features["*"].dim == 4


def test_an_override_on_a_default_counts_only_what_it_sets_as_written() -> None:
    overrides = ["model.dropout=0.2", "model.architecture=mmoe"]
    config = config_from_yaml(GOOD, where="a.yaml", overrides=overrides)
    assert config.model.model_fields_set == {"dropout", "architecture"}


def test_files(tmp_path: Path) -> None:
    (tmp_path / "shop.yaml").write_text(GOOD)
    assert load_config(tmp_path / "shop.yaml", ["seed=2"]).seed == 2
    with pytest.raises(UserError, match=r"no such config file -> did you mean '.*/shop.yaml'"):
        load_config(tmp_path / "shp.yaml")
    with pytest.raises(UserError, match=r"cannot read the config; found Is a directory"):
        load_config(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not a text file; expected YAML in UTF-8"):
        load_config(tmp_path / "binary.yaml")


def test_the_effective_config_loads_back_equal() -> None:
    experts = "[{kind: fm}, {kind: cross, count: 3}]"
    text = GOOD + f"model: {{architecture: mmoe, shared_experts: {experts}}}\n"
    config = config_from_yaml(
        text, where="a.yaml", overrides=["tasks.click.null_values=['1e-3', no]"]
    )
    dumped = dump_config(config)
    again = config_from_yaml(dumped, where="dumped")
    assert again == config
    assert "learning_rate: 0.001" in dumped
    assert config_hash(again) == config_hash(config)
    assert dump_config(again) == dumped


def test_the_hash_is_of_what_the_config_means() -> None:
    def digest(text: str) -> str:
        return config_hash(config_from_yaml(text, where="a.yaml"))

    assert digest(GOOD) == digest("seed: 0\n" + GOOD)
    assert digest(GOOD) != digest("seed: 1\n" + GOOD)
    assert len(digest(GOOD)) == 16


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8
)


@given(VALUES)
def test_what_is_dumped_is_parsed_equal(value: object) -> None:
    parsed = yaml_text.parse(yaml_text.dump(value), "here").data
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("2024-05-01", "2024-05-01"),
        ("12:30", "12:30"),
        ("1e-3", 1e-3),
        ("010", 10),
        ("1_000", "1_000"),
        ("true", True),
        ("~", None),
        ("-.5", -0.5),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    parsed = yaml_text.parse(text, "here").data
    assert parsed == value
    assert type(parsed) is type(value)


def test_anchors_and_merges_work_and_point_to_a_line() -> None:
    text = edit("  age: {kind: numeric}", "  age: &number\n    kind: numeric\n    null_value: 3")
    text = text.replace("city: {kind: categorical}", "city: {<<: *number}")
    assert problems(text) == [
        "a.yaml:7: features.age.null_value: unknown key -> did you mean 'null_values'?",
        "a.yaml:8: features.city.null_value: unknown key -> did you mean 'null_values'?",
    ]
