"""Counts what a clean house means here: `python tests/house/house.py [--list] [ROOT ...]`.

The product is every .py file of the packages recsys_mtl, data_synth and pipelines. Its text is
parsed and never imported, so any checkout can be counted, an earlier commit too.

- *kind files*: files outside the kinds' rooms that name a kind of task or feature, by a string
  equal to its name or by an import of its section or of a module called like it. Docstrings do
  not count. A kind whose name is a common word (`COMMON`) counts only where it is compared,
  matched or listed in a Literal. The kinds are the members of the config's two unions.
- *auc, spearman*: files that define a function or class of that name (`NUMBERS`), or import that
  of scikit-learn or scipy. The area under precision and recall is another number.
- *circles*: groups of modules that import each other, at module level and with the imports in
  functions. An import for type checking counts as one in a function.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("recsys_mtl", "data_synth", "pipelines")
ROOMS = (
    "recsys_mtl/tasks/",
    "recsys_mtl/features/",
    "recsys_mtl/config/tasks.py",
    "recsys_mtl/config/features.py",
    "data_synth/targets/",
)
UNIONS = ("Task", "TaskConfig", "Feature", "FeatureConfig")
COMMON = ("count",)
NUMBERS = {
    "auc": re.compile(r"(?!.*(pr|mean)_)(.*_)?(auc|auroc)(_score)?(_.*)?|.*Auc.*"),
    "spearman": re.compile(r"(.*_)?(spearmanr?|rank_correlation)(_.*)?|.*(Spearman|RankCorr).*"),
}
Graph = dict[str, set[str]]


class File:
    """One parsed file of the product."""

    def __init__(self, root: Path, path: Path) -> None:
        self.name = path.relative_to(root).as_posix()
        self.module = self.name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        self.package = re.sub(r"^(recsys_mtl/\w+|\w+)/.*", r"\1", self.name)
        text = path.read_text()
        self.lines = text.count("\n")
        self.nodes = list(ast.walk(ast.parse(text)))
        self.early = list(_early(self.nodes[0]))

    def strings(self, inside: tuple[type[ast.AST], ...] = (ast.Module,)) -> set[str]:
        """The strings within nodes of such types, docstrings left out."""
        docs = {id(n.value) for n in self.nodes if isinstance(n, ast.Expr)}
        deep = (m for n in self.nodes if isinstance(n, inside) for m in ast.walk(n))
        texts = (m for m in deep if isinstance(m, ast.Constant) and id(m) not in docs)
        return {text.value for text in texts if isinstance(text.value, str)}

    def imported(self, nodes: list[ast.AST]) -> Iterator[tuple[str, str]]:
        """(module, name) of every import among the nodes; no name where a module is imported."""
        for node in nodes:
            if isinstance(node, ast.Import):
                yield from ((alias.name, "") for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((node.module, alias.name) for alias in node.names)

    def defines_or_imports(self, pattern: re.Pattern[str]) -> bool:
        """Whether a function, a class or an import of another library has such a name."""
        kinds = (ast.FunctionDef, ast.ClassDef)
        names = [n.name for n in self.nodes if isinstance(n, kinds)]
        names += [n for m, n in self.imported(self.nodes) if m.startswith(("sklearn", "scipy"))]
        return any(pattern.fullmatch(name) for name in names)


def _early(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported."""
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield child
            yield from _early(child)


def product(root: Path) -> list[File]:
    """The product's files."""
    return [File(root, p) for name in PACKAGES for p in sorted((root / name).rglob("*.py"))]


def kinds(files: list[File]) -> dict[str, str]:
    """Name of a kind of task or feature -> the name of its section."""
    nodes = [n for file in files if "recsys_mtl/config/" in file.name for n in file.nodes]
    unions = [n for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) in UNIONS]
    members = {n.id for union in unions for n in ast.walk(union) if isinstance(n, ast.Name)}
    registers = {f"{union}.register" for union in UNIONS}
    result = {}
    for section in (n for n in nodes if isinstance(n, ast.ClassDef)):
        member = section.name in members or registers & {*map(ast.unparse, section.decorator_list)}
        for line in section.body if member else ():
            if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "kind":
                choice = next(n for n in ast.walk(line.annotation) if isinstance(n, ast.Constant))
                result[str(choice.value)] = section.name
    return result


def name_a_kind(files: list[File]) -> list[str]:
    """Files that name a kind of task or feature outside its room."""
    sections = kinds(files)
    rare, imports = sections.keys() - COMMON, {*sections, *sections.values()}

    def names(file: File) -> bool:
        ours = [f"{m}.{n}".split(".") for m, n in file.imported(file.nodes) if "recsys_mtl" in m]
        compared = file.strings((ast.Compare, ast.MatchValue, ast.Subscript))
        named = file.strings() & rare or compared & sections.keys()
        return bool(named) or any(imports & set(words) for words in ours)

    return [file.name for file in files if not file.name.startswith(ROOMS) and names(file)]


def graph(files: list[File], *, functions: bool) -> Graph:
    """Module -> the product's modules that it imports, at module level or anywhere."""
    known = {file.module for file in files}
    result: Graph = {}
    for file in files:
        pairs = list(file.imported(file.nodes if functions else file.early))
        modules = {f"{m}.{n}" if f"{m}.{n}" in known else m for m, n in pairs}
        result[file.module] = (modules & known) - {file.module}
    return result


def circles(edges: Graph) -> list[tuple[str, ...]]:
    """Groups of modules of which each reaches each other."""

    def reach(start: str) -> set[str]:
        seen, todo = set[str](), [start]
        while todo:
            for module in edges[todo.pop()] - seen:
                seen.add(module)
                todo.append(module)
        return seen

    reached = {module: reach(module) for module in edges}
    groups = [{o for o in seen if module in reached[o]} for module, seen in reached.items()]
    return sorted({tuple(sorted(group)) for group in groups if group})


def updates(file: File) -> int:
    """Calls of `model_copy(update=...)`."""
    calls = [n for n in file.nodes if isinstance(n, ast.Call)]
    copies = [call for call in calls if ast.unparse(call.func).endswith(".model_copy")]
    return sum(any(k.arg == "update" for k in copy.keywords) for copy in copies)


def listed(files: list[File]) -> dict[str, list[str]]:
    """What is counted one by one: the title of a number -> its files or circles."""
    lists = {"files over 400 lines": [f.name for f in files if f.lines > 400]}
    lists["kind files"] = name_a_kind(files)
    for title, pattern in NUMBERS.items():
        lists[title] = [f.name for f in files if f.defines_or_imports(pattern)]
    for title, deep in (("circles", False), ("circles with functions' imports", True)):
        lists[title] = [" ↔ ".join(c) for c in circles(graph(files, functions=deep))]
    lists["model_copy(update=)"] = [f.name for f in files for _ in range(updates(f))]
    return lists


def counted(root: Path) -> dict[str, int]:
    """Title -> number, of a checkout."""
    files = product(root)
    lines = [file.lines for file in files]
    sizes = Counter[str]()
    for file in files:
        sizes[file.package] += file.lines
    installed = re.findall(r"find_packages\(include=\[(.*?)\]", (root / "setup.py").read_text())
    return {
        "files": len(files),
        "lines": sum(lines),
        "median lines of a file": int(statistics.median(lines)),
        **{title: len(entries) for title, entries in listed(files).items()},
        "pipelines installed": sum(names.count('"pipelines') for names in installed),
        **{f"lines of {package}": count for package, count in sorted(sizes.items())},
    }


def main(arguments: list[str]) -> None:
    """Print the numbers of every ROOT side by side, with --list also what is behind them."""
    roots = [Path(a) for a in arguments if a != "--list"] or [Path(__file__).parents[2]]
    tables = [counted(root) for root in roots]
    for title in dict.fromkeys(title for table in tables for title in table):
        print(f"{title:<40}" + "".join(f"{table.get(title, 0):>8}" for table in tables))
    for root in roots if "--list" in arguments else ():
        for title, entries in listed(product(root)).items():
            print(f"\n{root}: {title}", *entries, sep="\n  ")


if __name__ == "__main__":
    main(sys.argv[1:])
