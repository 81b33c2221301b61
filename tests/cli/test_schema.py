from __future__ import annotations

import re
from pathlib import Path

import pytest

from data_synth import Plan
from recsys_mtl.cli.main import main
from recsys_mtl.cli.schema_tables import tables
from recsys_mtl.config.experts import CrossExpertConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.section import Section
from recsys_mtl.config.shape import inner, sections, tags

DOCS = Path(__file__).parents[2] / "docs"


of_roots = pytest.mark.parametrize("root", [Config, Plan])


def every_section(section: type[Section]) -> set[type[Section]]:
    """The section and all that its keys lead to."""
    reached = {section}
    for field in section.model_fields.values():
        for part in (field.annotation, inner(field.annotation)):
            for child in sections(part).values():
                reached |= every_section(child)
    return reached


def rows(root: type[Section]) -> list[list[str]]:
    """The cells of every row of every table, heads left out."""
    lines = [line for line in tables(root).splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


@pytest.mark.parametrize(
    ("root", "page", "command"),
    [
        (Config, "reference.md", "recsys-mtl schema --markdown"),
        (Plan, "synthetic.md", "recsys-mtl schema --plan --markdown"),
    ],
)
def test_the_documents_match_the_schema(root: type[Section], page: str, command: str) -> None:
    block = re.search(
        r"<!-- begin: printed by `(.*?)` -->\n\n(.*?)\n\n<!-- end -->",
        (DOCS / page).read_text(),
        re.S,
    )
    assert block is not None
    assert block[1] == command
    assert block[2] == tables(root), f"`{command}` prints the block of docs/{page} anew"


def test_a_section_without_keys_has_no_table() -> None:
    (part,) = [p for p in tables().split("\n\n### ") if p.startswith("`balancing`, name `fixed`")]
    assert part.endswith("`fixed` is those weights alone.")


@of_roots
def test_every_key_of_every_section_has_a_row(root: type[Section]) -> None:
    keys = [n for s in every_section(root) for n in s.model_fields if not (tags(s) and n == s.tag)]
    assert sorted(cells[0].strip("`") for cells in rows(root)) == sorted(keys)


@of_roots
def test_no_cell_is_empty(root: type[Section]) -> None:
    assert {len(cells) for cells in rows(root)} == {4}
    assert [cells for cells in rows(root) if not all(cells)] == []


def test_a_section_that_two_keys_share_has_one_table() -> None:
    title = "### `model.shared_experts.N` and `model.task_experts.N`, kind `cross`"
    assert tables().count(title) == 1
    assert tables().count((CrossExpertConfig.__doc__ or "").strip()) == 1


@pytest.mark.parametrize(
    "row",
    [
        "| `seed` | a whole number, at least 0, below 2147483648 | `0` |",
        "| `clip_norm` | a number, above 0, or null | `5.0` |",
        "| `max_ratio` | a number, at least 0, or null | `0.5` |",
        '| `donors` | one of measured, uniform or a mapping to a list of texts | `"measured"` |',
        '| `split` | a mapping | `{"kind": "fraction"}` | of kind `fraction`, `group`,',
        "| `column` | text | required |",
        "| `top_k` | a list of whole numbers, at least 1 of them, above 0 | `[1, 5, 10]` |",
    ],
)
def test_types_bounds_and_defaults(row: str) -> None:
    assert row in tables()


def test_markdown_is_printed_and_the_json_schema_still_stored(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["schema", "--markdown", "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out == tables() + "\n"
    assert (tmp_path / "schema.json").read_text().startswith("{")
