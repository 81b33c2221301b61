from __future__ import annotations

import re

import pytest

from recsys_mtl.config.yaml_text import parse
from recsys_mtl.errors import UserError


def tenfold(first: str, wrap: str) -> str:
    """Each of ten lines holds the line before ten times."""
    lines = [f"a0: &a0 {first}"]
    for number in range(1, 11):
        items = ", ".join([f"*a{number - 1}"] * 10)
        lines.append(f"a{number}: &a{number} " + wrap.format(items))
    return "\n".join(lines)


ALIASES = "aliases that stand for more than 100,000 values"
DEEP = "more than 100 levels of nested mappings and lists"
REFUSED: dict[str, tuple[str, str]] = {
    "aliases of lists": (tenfold("[x]", "[{}]"), f":6: not valid YAML: {ALIASES}"),
    "aliases of mappings": (tenfold("[x]", "{{b: [{}]}}"), ALIASES),
    "aliases in merges": (tenfold("{b: 1}", "{{<<: [{}]}}"), ALIASES),
    "an alias of itself": ("a: 1\nb: &b [*b]", r":2: .*alias \*b inside of its own anchor"),
    "a merge of itself": ("a: &b {<<: *b}", r"alias \*b inside of its own anchor"),
    "an unknown alias": ("a: *b", "found undefined alias"),
    "a date": ("a: 1\nb: !!timestamp foo", ":2: .*the tag !!timestamp, which means nothing"),
    "a date written out": ("a: !<tag:yaml.org,2002:timestamp> 2001-01-01", "!!timestamp"),
    "a set": ("a: !!set {x, y}", "the tag !!set, which means nothing here"),
    "code": ("a: !!python/object/apply:os.system [ls]", "means nothing here"),
    "an own tag": ("a: !foo bar", "the tag !foo, which means nothing here"),
    "no number": ("a: !!int foo", "the tag !!int before what is none: 'foo'"),
    "no decimal": ("a: !!float foo", "the tag !!float before what is none"),
    "no boolean": ("a: !!bool foo", "the tag !!bool before what is none"),
    "a list as a number": ("a: !!int [1]", "the tag !!int before what is none"),
    "a mapping as text": ("a: !!str {b: c}", "expected a scalar node"),
    "NUL": ("a: 1\nb: c\0d", r":2: not valid YAML: a control character \(U\+0000\)"),
    "DEL": ("a: \x7f", r"a control character \(U\+007F\)"),
    "half a character": ("a: \ud800", r"a control character \(U\+D800\)"),
    "a tab": ("a:\n\tb: 1", ":2: not valid YAML: a tab in front of a line: indent with spaces"),
    "a tab later": ("a: 1\n\tb: 2", ":2: .*a tab in front of a line"),
    "open lists": ("[" * 100_000, DEEP),
    "lists": ("[" * 101 + "]" * 101, DEEP),
    "flow mappings": ("{a: " * 2000 + "1" + "}" * 2000, DEEP),
    "indented mappings": ("".join(" " * n + "a:\n" for n in range(300)), f":101: .*{DEEP}"),
    "items of items": ("- " * 5000 + "a", DEEP),
    "digits": ("a: 1\nb: " + "9" * 5_000, ":2: not valid YAML: a whole number of 5,000 digits"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_config_holds_is_one_line(case: str) -> None:
    text, expected = REFUSED[case]
    with pytest.raises(UserError) as caught:
        parse(text, "a.yaml")
    assert len(caught.value.problems) == 1
    assert re.search(rf"^a\.yaml.*{expected}", str(caught.value)), str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[" * 100 + "]" * 100, None),
        ("a: &a [x, y]\nb: [*a, *a]", {"a": ["x", "y"], "b": [["x", "y"], ["x", "y"]]}),
        ("a: &a {x: 1}\nb: {<<: *a, y: 2}", {"a": {"x": 1}, "b": {"x": 1, "y": 2}}),
        ("a: !!str 01\nb: !!int '7'", {"a": "01", "b": 7}),
        ("a: x\ty\t# tab", {"a": "x\ty"}),
        ("\ufeffa: ü", {"a": "ü"}),
    ],
)
def test_ordinary_yaml_is_read(text: str, value: object) -> None:
    assert value is None or parse(text, "a.yaml").data == value
