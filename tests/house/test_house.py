"""The house keeps its order: `house.py` counts right, and the counts stay within bounds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.house.house import circles, counted, graph, kinds, listed, main, product

ROOT = Path(__file__).parents[2]

BOUNDS = {
    "lines": 68_176,  # raised by what new features need, lowered with every copy that goes
    "median lines of a file": 109,
    "files over 400 lines": 0,
    "kind files": 9,  # one of them by LightGBM's objectives, which are called like kinds
    "auc": 1,
    "spearman": 1,
    "circles": 0,
    "circles with functions' imports": 0,
    "model_copy(update=)": 45,  # goal: none that disguises a wish as a user's setting
    "pipelines installed": 0,
}
"""The largest number that is allowed; where the house is not there yet, a comment has the goal."""


@pytest.fixture(scope="module")
def ours() -> tuple[dict[str, int], dict[str, list[str]]]:
    return counted(ROOT), listed(product(ROOT))


@pytest.mark.slow  # reads all files
@pytest.mark.parametrize("title", BOUNDS)
def test_the_product_stays_within_its_bounds(ours, title: str) -> None:
    numbers, lists = ours
    assert numbers[title] <= BOUNDS[title], "\n".join(lists.get(title, []))


@pytest.mark.slow  # reads all files
def test_the_kinds_are_those_of_the_config() -> None:
    known = kinds(product(ROOT))
    assert known["retrieval"] == "RetrievalConfig"
    assert {"binary", "multiclass", "regression", "categorical_list", "numeric"} <= known.keys()
    assert "fraction" not in known


CONFIG = """
class RedConfig(Section):
    kind: Literal["red"]
class CountConfig(Section):
    kind: Literal["count"]
class SplitConfig(Section):
    kind: Literal["split"]
TaskConfig = Annotated[RedConfig | CountConfig, Field(discriminator="kind")]
@FeatureConfig.register
class BlueConfig(FeatureConfig):
    kind: Literal["blue"]
"""


@pytest.fixture
def count(tmp_path: Path):
    """Writes a checkout with CONFIG and the given files, and counts it."""

    def of(files: dict[str, str]) -> tuple[dict[str, int], dict[str, list[str]]]:
        texts = {f"recsys_mtl/{name}.py": text for name, text in files.items()}
        for name, text in {"recsys_mtl/config/tasks.py": CONFIG, **texts}.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        (tmp_path / "setup.py").write_text('setup(packages=find_packages(include=["recsys_mtl*"]))')
        return counted(tmp_path), listed(product(tmp_path))

    return of


@pytest.mark.parametrize(
    "text",
    [
        'x = "red"',
        'x = ["blue"]',
        'if kind == "count": pass',
        'match kind:\n    case "count": pass',
        'x: Literal["count"]',
        "from recsys_mtl.config import RedConfig",
        "from recsys_mtl.tasks.red import Label",
        "def f():\n    from recsys_mtl.tasks import count",
    ],
)
def test_naming_a_kind_counts(count, text: str) -> None:
    assert count({"model/towers": text})[1]["kind files"] == ["recsys_mtl/model/towers.py"]


@pytest.mark.parametrize(
    "text",
    [
        '"red"',
        'def f():\n    """red"""',
        'x = "a red house"',
        'x = "split"',
        'frame.rename({"count": "rows"})',
        "import data_synth.red",
    ],
)
def test_these_name_no_kind(count, text: str) -> None:
    assert count({"model/towers": text})[1]["kind files"] == []


def test_a_room_may_name_its_kind(count) -> None:
    assert count({"tasks/red": 'x = "red"', "features/red": 'x = "red"'})[1]["kind files"] == []


@pytest.mark.parametrize(
    ("title", "text", "expected"),
    [
        ("auc", "def auc(): pass", 1),
        ("auc", "class A:\n    def _expected_auc(self): pass", 1),
        ("auc", "def f():\n    from sklearn.metrics import roc_auc_score", 1),
        ("auc", "from recsys_mtl.metrics import auc", 0),
        ("auc", "def pr_auc(): pass", 0),
        ("spearman", "def _rank_correlation(): pass", 1),
        ("spearman", "from scipy.stats import spearmanr", 1),
        ("spearman", "from scipy.stats import rankdata", 0),
        ("model_copy(update=)", "a.b.model_copy(\n    update={}).model_copy(deep=True)", 1),
        ("files over 400 lines", "\n" * 401, 1),
        ("files over 400 lines", "\n" * 400, 0),
    ],
)
def test_what_counts(count, title: str, text: str, expected: int) -> None:
    assert count({"model/towers": text})[0][title] == expected


@pytest.mark.parametrize(
    ("one", "early", "all_together"),
    [
        ("import recsys_mtl.two", 1, 1),
        ("from recsys_mtl import two", 1, 1),
        ("try:\n    from recsys_mtl.two import x\nexcept ImportError: pass", 1, 1),
        ("class A:\n    def f(self):\n        from recsys_mtl.two import x", 0, 1),
        ("if TYPE_CHECKING:\n    from recsys_mtl.two import x", 0, 1),
        ("", 0, 0),
    ],
)
def test_circles(count, one: str, early: int, all_together: int) -> None:
    numbers, lists = count(
        {"one": one, "two": "import recsys_mtl.three", "three": "import recsys_mtl.one"}
    )
    assert numbers["circles"] == early
    assert numbers["circles with functions' imports"] == all_together
    circle = "recsys_mtl.one ↔ recsys_mtl.three ↔ recsys_mtl.two"
    assert lists["circles with functions' imports"] == [circle] * all_together


def test_two_circles_are_two() -> None:
    edges = {"a": {"b"}, "b": {"a", "c"}, "c": {"d"}, "d": {"c"}, "e": {"a"}}
    assert circles(edges) == [("a", "b"), ("c", "d")]


def test_packages_are_modules_too(count, tmp_path: Path) -> None:
    count(
        {"model/__init__": "from recsys_mtl.model.a import x", "model/a": "import recsys_mtl.model"}
    )
    edges = graph(product(tmp_path), functions=False)
    assert edges["recsys_mtl.model"] == {"recsys_mtl.model.a"}
    assert edges["recsys_mtl.model.a"] == {"recsys_mtl.model"}


def test_the_table_has_a_column_a_root(count, tmp_path: Path, capsys) -> None:
    count({"model/a": "x = 1\n", "model/b/c": "x = 2\ny = 'red'\n"})
    main(["--list", str(tmp_path), str(tmp_path)])
    text = capsys.readouterr().out
    rows = {line[:40].strip(): line[40:].split() for line in text.splitlines()}
    assert rows["files"] == ["3", "3"]
    assert rows["lines of recsys_mtl/model"] == ["3", "3"]
    assert "kind files\n  recsys_mtl/model/b/c.py" in text
