from __future__ import annotations

import re
from typing import Any, get_args

import pytest

from recsys_mtl.cli.schema_tables import tables
from recsys_mtl.config import Config, config_from_yaml, config_hash, dump_config
from recsys_mtl.config.balancing import BalancingConfig
from recsys_mtl.config.check import contradictions
from recsys_mtl.config.combiner import CombinerConfig, SumConfig
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.shape import section_of, tag_key, tags
from recsys_mtl.config.training import TableOptimizerConfig
from recsys_mtl.config.yaml_text import dotted
from recsys_mtl.errors import UserError
from recsys_mtl.gradients import COMBINERS
from tests.combiners import METHODS, SECTIONS, WHOLE, other_options

GOOD = """\
name: shop
data: {path: rows.parquet}
features: {age: {kind: numeric}}
tasks: {click: {kind: binary}, buy: {kind: binary}}
"""
CHOICES = "expected one of " + ", ".join(SECTIONS)


def read(text: str = "", *overrides: str) -> Config:
    return config_from_yaml(GOOD + text, where="a.yaml", overrides=overrides)


def problems(text: str, *overrides: str) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(text, *overrides)
    return [str(problem) for problem in caught.value.problems]


# Each of several mappings is known by its `name`.


def test_without_the_section_gradients_are_summed() -> None:
    assert read().combiner == SumConfig()
    assert read("combiner: {name: sum}\n").combiner == SumConfig()


@pytest.mark.parametrize("name", METHODS)
def test_every_method_has_its_section(name: str) -> None:
    section = read(f"combiner: {{name: {name}}}\n").combiner
    assert isinstance(section, CombinerConfig)
    assert (section.name, section.block, section.diagnostics) == (name, None, None)
    assert section.blocks == ("fixed" if name == "cagt" else "all")
    assert type(section) is SECTIONS[name]


def test_no_section_names_a_method_that_is_not_there() -> None:
    assert SECTIONS.keys() == COMBINERS.keys()


def test_tags() -> None:
    assert tag_key(CombinerConfig) == "name"
    assert tag_key(FeatureConfig) == "kind"
    assert tags(SumConfig) == ("sum",)
    assert tag_key(BalancingConfig) == "name"
    assert tags(TableOptimizerConfig) == ()  # a section of its own, whatever its `name` is
    assert section_of(CombinerConfig, {"name": "sum"}) is SumConfig
    for unclear in ({"kind": "sum"}, {"name": "sun"}, {"name": 3}, {}, "sum", None):
        assert section_of(CombinerConfig, unclear) is None
    assert section_of(FeatureConfig, {"name": "numeric"}) is None
    assert {s.tag for s in SECTIONS.values()} == {"name"}
    assert all(get_args(s.model_fields["name"].annotation) for s in SECTIONS.values())


OWN_KEYS = "use one of: block, block_size, diagnostics, level, name, rows"
WRONG = {
    "{name: cagtt}": [f'name: unknown choice; {CHOICES}; found "cagtt" -> did you mean \'cagt\'?'],
    "{name: 3}": [
        f"name: unknown choice; {CHOICES}; found 3 -> use one of: "
        + ", ".join(sorted(METHODS)[:12])
        + ", …"
    ],
    "{block: expert}": [f"name: missing key; {CHOICES}"],
    "{kind: cagt}": [f"name: missing key; {CHOICES}"],
    "{}": [f"name: missing key; {CHOICES}"],
    "cagt": ['wrong type; expected a mapping; found "cagt"'],
    "null": ["wrong type; expected a mapping; found null"],
    "{name: pcgrad, temperature: 0.5}": [f"temperature: unknown key -> {OWN_KEYS}"],
    "{name: sum, beta: 0.5}": [f"beta: unknown key -> {OWN_KEYS}"],
    "{name: cagt, kind: cagt}": [
        "kind: unknown key -> use one of: active_steps, adaptive, attention, block, block_size, "
        "coefficient, diagnostics, level, name, preserve_norm, rows, temperature, …"
    ],
    "{name: cagt, temprature: 1}": ["temprature: unknown key -> did you mean 'temperature'?"],
    "{name: cagt, temperature: 0}": [
        "temperature: value out of range; expected more than 0.0; found 0"
    ],
    "{name: cagt, coefficient: 1.5}": [
        "coefficient: value out of range; expected at most 1.0; found 1.5"
    ],
    "{name: cagt, threshold: -2}": [
        "threshold: value out of range; expected at least -1.0; found -2"
    ],
    "{name: cagt, active_steps: -1}": [
        "active_steps: value out of range; expected at least 0; found -1"
    ],
    "{name: cagt, attention: cosin}": [
        "attention: unknown choice; expected one of cosine, cosine_squared, euclidean; "
        "found \"cosin\" -> did you mean 'cosine'?"
    ],
    "{name: cagt, adaptive: 1}": ["adaptive: wrong type; expected true or false; found 1"],
    "{name: gradvac, beta: -0.1}": ["beta: value out of range; expected at least 0.0; found -0.1"],
    "{name: mgda, epsilon: 0, max_iters: 0}": [
        "epsilon: value out of range; expected more than 0.0; found 0",
        "max_iters: value out of range; expected more than 0; found 0",
    ],
    "{name: cagrad, c: .inf}": [
        "c: value out of range; expected a finite number; found Infinity"
    ],
    "{name: fairgrad, alpha: 0}": ["alpha: value out of range; expected more than 0.0; found 0"],
    "{name: nash_mtl, max_norm: -1}": [
        "max_norm: value out of range; expected at least 0.0; found -1"
    ],
    **{
        f"{{name: {name}, block: {block}}}": [
            f'block: unknown choice; expected one of all; found "{block}" -> use one of: all'
        ]
        for name in WHOLE
        for block in ("expert", "parameter", "fixed")
    },
    "{name: upgrad, block: experts}": [
        "block: unknown choice; expected one of all, expert, parameter, fixed; found \"experts\" "
        "-> did you mean 'expert'?"
    ],
    "{name: upgrad, diagnostics: 0}": [
        "diagnostics: value out of range; expected more than 0; found 0"
    ],
    **{
        f"{{{written}, block_size: 64}}": [
            "block_size: block_size has no effect without block: fixed"
        ]
        for written in ("name: pcgrad", "name: fairgrad", "name: cagt, block: all", "name: sum")
    },
}  # fmt: skip


def lines(where: str, expected: list[str]) -> list[str]:
    """A message about the section itself names no key."""
    itself = expected[0].startswith("wrong type")
    return [f"{where}: combiner{': ' if itself else '.'}{line}" for line in expected]


@pytest.mark.parametrize("written", WRONG)
def test_a_mistake_in_the_file_is_one_line_with_its_path(written: str) -> None:
    assert problems(f"combiner: {written}\n") == lines("a.yaml:5", WRONG[written])


@pytest.mark.parametrize("written", WRONG)
def test_a_mistake_in_an_override_is_one_line_that_names_it(written: str) -> None:
    override = f"combiner={written}"
    assert problems("", override) == lines(f"--set {override}", WRONG[written])


def test_each_key_has_its_own_line() -> None:
    written = "combiner:\n  name: pcgrad\n  block: expert\n  block_size: 64\n"
    (problem,) = problems(written)
    assert problem.startswith("a.yaml:8: combiner.block_size: ")
    written = "combiner:\n  name: cagt\n  block: expert\n  coefficient: 7\n  threshold: 3\n"
    assert [line.partition(": value")[0] for line in problems(written)] == [
        "a.yaml:8: combiner.coefficient",
        "a.yaml:9: combiner.threshold",
    ]


SETS = {
    ("combiner.name=cagtt",): f"combiner.name=cagtt: combiner.name: unknown choice; {CHOICES}; "
    "found \"cagtt\" -> did you mean 'cagt'?",
    ("combiner.nam=cagt",): "combiner.nam=cagt: combiner.nam: unknown key -> "
    "did you mean 'name'?",
    ("combiner.temperature=0.5",): "combiner.temperature=0.5: combiner.temperature: unknown key "
    f"-> {OWN_KEYS}",
    ("combiner.name=cagt", "combiner.coefficient=2"): "combiner.coefficient=2: "
    "combiner.coefficient: value out of range; expected at most 1.0; found 2",
    ("combiner.name=fairgrad", "combiner.block=expert"): "combiner.block=expert: combiner.block: "
    'unknown choice; expected one of all; found "expert" -> use one of: all',
    ("combiner.block_size=9",): "combiner.block_size=9: combiner.block_size: block_size has no "
    "effect without block: fixed",
    ("combiner.name.x=2",): "combiner.name.x=2: combiner.name: has no keys; expected a section or "
    "list; found sum",
    ("balancing.alpha=2.0",): "balancing.alpha=2.0: balancing.alpha: unknown key -> use one "
    "of: name",
}  # fmt: skip


@pytest.mark.parametrize("overrides", SETS)
def test_a_mistake_in_one_key_from_the_command_line(overrides: tuple[str, ...]) -> None:
    assert problems("", *overrides) == [f"--set {SETS[overrides]}"]


def test_one_key_at_a_time_from_the_command_line() -> None:
    config = read("", "combiner.name=cagt", "combiner.block=expert", "combiner.threshold=-0.5")
    assert config.combiner.model_dump(exclude_defaults=True) == {
        "name": "cagt",
        "block": "expert",
        "threshold": -0.5,
    }
    written = "combiner: {name: gradvac, beta: 0.25}\n"
    assert read(written, "combiner.block=parameter").combiner.blocks == "parameter"


# What is dumped.


@pytest.mark.parametrize("name", METHODS)
def test_an_ablation_may_name_any_method_on_top_of_a_dumped_sum(name: str) -> None:
    dumped = dump_config(read())
    config = config_from_yaml(dumped, where="base", overrides=[f"combiner.name={name}"])
    assert config.combiner == read(f"combiner: {{name: {name}}}\n").combiner


@pytest.mark.parametrize("name", METHODS)
def test_a_dumped_method_is_replaced_by_a_complete_section(name: str) -> None:
    dumped = dump_config(read(f"combiner: {{name: {name}}}\n"))
    override = "combiner={name: gradvac, block: expert}"
    config = config_from_yaml(dumped, where="base", overrides=[override])
    assert config.combiner.model_dump() == {
        "name": "gradvac", "block": "expert", "block_size": 8192, "diagnostics": None,
        "rows": None, "level": "parameters", "beta": 0.5,
    }  # fmt: skip


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("changed", [False, True])
def test_what_is_dumped_reads_back_equal(name: str, changed: bool) -> None:
    section = {"name": name} | (other_options(name) | {"diagnostics": 5} if changed else {})
    if changed and name not in WHOLE:
        section |= {"block": "fixed", "block_size": 64}
    made = Config.model_validate(read().model_dump() | {"combiner": section})
    again = config_from_yaml(dump_config(made), where="dumped")
    assert again == made
    assert config_hash(again) == config_hash(made)
    assert section.items() <= again.combiner.model_dump().items()


def test_options_of_gradnorm_belong_to_gradnorm() -> None:
    lines = problems("balancing: {name: uncertainty, alpha: 2.0, learning_rate: 0.5}\n")
    assert lines == [
        f"a.yaml:5: balancing.{key}: unknown key -> use one of: name"
        for key in ("alpha", "learning_rate")
    ]


def test_gradnorm_s_defaults_under_another_name_are_those_of_an_older_dump() -> None:
    """Dumps spelt them out under every name once, and models that were saved then load."""
    dumped = "balancing: {name: dwa, alpha: 1.5, learning_rate: 0.025}\n"
    made = read(dumped)
    assert made == read("balancing: {name: dwa}\n")
    assert config_hash(made) == config_hash(read("balancing: {name: dwa}\n"))
    assert read(dumped, "balancing.name=gradnorm").balancing.name == "gradnorm"
    dumped = dump_config(read("balancing: {name: gradnorm}\n"))
    again = config_from_yaml(dumped, where="base", overrides=["balancing.name=fixed"])
    assert again == read()


def test_gradnorm_reads_back_equal() -> None:
    made = read("balancing: {name: gradnorm, alpha: 0.5, learning_rate: 0.1}\n")
    assert config_from_yaml(dump_config(made), where="dumped") == made
    assert (made.balancing.alpha, made.balancing.learning_rate) == (0.5, 0.1)


# Contradictions.

ONE = {"click": {"kind": "binary"}}
SINGLE = {"model": {"architecture": "single_task"}}
TABLES = {"features": {"age": {"kind": "numeric"}, "seen": {"kind": "categorical_list"}}}
CITY = {"features": {"city": {"kind": "categorical"}}}
NOTHING_SHARED = (
    "combiner.name: single_task without categorical features shares nothing to combine on -> "
    "use architecture ple, or name: sum"
)
IDLE_SIZE = "combiner.block_size: block_size has no effect without block: fixed"
NOT_SEPARABLE = (
    "combiner.level: level: features needs tasks that meet only in one mixture of shared experts "
    "-> use one level of ple, mmoe or shared_bottom without logit_transfer, or combiner.rows"
)
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"combiner": {"name": "cagt"}}, []),
    ({"combiner": {"name": "cagt", "block_size": 64}}, []),
    ({"combiner": {"name": "cagt", "block": "expert", "block_size": 64}}, [IDLE_SIZE]),
    ({"combiner": {"name": "mgda", "block": "fixed", "block_size": 64}}, []),
    ({"combiner": {"name": "mgda", "block_size": 64}}, [IDLE_SIZE]),
    ({"combiner": {"name": "mgda", "block_size": 8192}}, []),  # as a dump spells it out
    (
        {"combiner": {"name": "mgda"}, "tasks": ONE},
        ["combiner.name: combining needs two tasks or more -> use name: sum"],
    ),
    ({"combiner": {"name": "sum", "diagnostics": 3}, "tasks": ONE}, []),
    ({"combiner": {"name": "cagt"}} | SINGLE, [NOTHING_SHARED]),
    ({"combiner": {"name": "cagt"}} | SINGLE | CITY, []),
    ({"combiner": {"name": "sum"}} | SINGLE, []),
    ({"combiner": {"name": "cagt", "rows": 512}}, []),
    ({"combiner": {"name": "cagt", "level": "features"}}, []),
    (
        {"combiner": {"name": "cagt", "block": "fixed", "rows": 512}},
        ["combiner.block: rows gives one weight a task, of all blocks together"],
    ),
    (
        {"combiner": {"name": "graddrop", "rows": 512}},
        [
            "combiner.rows: rows needs a weighted sum of the tasks' gradients, graddrop takes "
            "single entries -> remove it, or use another method"
        ],
    ),
    (
        {"combiner": {"name": "sum", "level": "features"}},
        [
            "combiner.level: level has no effect without diagnostics: sum needs no weights -> "
            "remove it"
        ],
    ),
    ({"combiner": {"name": "sum", "level": "features", "diagnostics": 9}}, []),
    (
        {"combiner": {"name": "mgda", "rows": 513}, "training": {"batch_size": 512}},
        ["combiner.rows: more rows than a batch has"],
    ),
    (
        {"combiner": {"name": "mgda", "rows": 64, "level": "features"}},
        ["combiner.rows: rows has no effect with level: features, which reads all -> remove it"],
    ),
    *(
        ({"combiner": {"name": "mgda", "level": "features"}, "model": model}, [NOT_SEPARABLE])
        for model in (
            {"levels": 2},
            {"architecture": "aitm"},
            {"logit_transfer": [{"source": "click", "target": "buy"}]},
        )
    ),
    ({"balancing": {"name": "gradnorm", "alpha": 2.0}}, []),
    (
        {"balancing": {"name": "gradnorm"}, "tasks": ONE},
        ["balancing.name: gradnorm needs two tasks or more -> use name: fixed"],
    ),
    (
        {"balancing": {"name": "gradnorm"}} | SINGLE | CITY,
        [
            "balancing.name: single_task has no shared experts to measure gradients on -> "
            "use architecture ple, or name: fixed"
        ],
    ),
    ({"balancing": {"name": "uncertainty"}} | SINGLE, []),
]


@pytest.mark.parametrize(("sections", "expected"), CASES)
def test_contradictions(sections: dict[str, Any], expected: list[str]) -> None:
    made = Config.model_validate(read().model_dump(exclude_unset=True) | sections)
    lines = [
        f"{dotted(item.path)}: {item.what}" + (f" -> {item.fix}" if item.fix else "")
        for item in contradictions(made)
    ]
    assert lines == expected


def test_lists_have_tables_too() -> None:
    """Pooled lists of ids are as shared as single ids are."""
    sections = {"combiner": {"name": "cagt"}} | SINGLE | TABLES
    made = Config.model_validate(read().model_dump(exclude_unset=True) | sections)
    assert contradictions(made) == []


def test_all_of_them_come_together() -> None:
    written = "combiner: {name: cagt}\nbalancing: {name: gradnorm}\n"
    overrides = ("model.architecture=single_task", "tasks={click: {kind: binary}}")
    lines = problems(written, *overrides)
    assert [line.partition(": ")[0] for line in lines] == ["a.yaml:5"] * 2 + ["a.yaml:6"] * 2


# The documents.


def test_titles_of_the_reference_name_each_method_once() -> None:
    titles = [line for line in tables().splitlines() if line.startswith("### `combiner`")]
    methods = [re.findall(r"`(\w+)`", title.removeprefix("### `combiner`")) for title in titles]
    assert all(title.startswith("### `combiner`, name `") for title in titles)
    assert sorted(name for names in methods for name in names) == sorted(METHODS)
    paths = [re.findall(r"`([\w.]+)`(?= and|,|$)", t) for t in tables().splitlines() if "###" in t]
    assert all(len(listed) == len(set(listed)) for listed in paths)
    titles = [line for line in tables().splitlines() if line.startswith("### ")]
    assert len(titles) == len(set(titles))


def test_the_tag_is_in_the_title_and_has_no_row() -> None:
    parts = [part for part in tables().split("### ") if part.startswith("`combiner`")]
    assert all("| `name` |" not in part for part in parts)
    (tables_of,) = [p for p in tables().split("### ") if p.startswith("`training.tables`")]
    assert "| `name` | one of adagrad, rowwise_adagrad, sgd" in tables_of
    assert "| of name `sum`, `cagt`, `pcgrad`, " in tables()
