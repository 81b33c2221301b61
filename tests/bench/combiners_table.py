"""What the combiners' bench prints, as Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CAGT = ("cagt, fixed 8192", "cagt, expert")
PEERS = {"mtl_backward": "mtl_backward, one task a pass", "backward": "backward, one task a pass"}
"""Of torchjd's paths the way that is faster on a CPU; `ways` measures all."""


def method_and_way(name: str) -> tuple[str, str]:
    """What a contestant of `steps` is called in two words: `upgrad, backward` or `upgrad`."""
    method, _, path = name.rpartition(", ")
    return (method, PEERS[path]) if path in PEERS else (name, "ours")


def steps(batch_size: int, turns: Mapping[str, Sequence[float]]) -> str:
    """A row for each method; a ratio is the median over rounds, with the least and the most."""
    rows = []
    for name in _methods(turns):
        row = [name, _ms(turns[name]), _ratio(turns[name], turns["sum"])]
        for peer in (f"{name}, {path}" for path in PEERS):
            known = peer in turns
            row += [_ms(turns[peer]), _ratio(turns[name], turns[peer])] if known else ["", ""]
        rows.append(row)
    peers = [f"{what}{path}" for path in PEERS for what in ("ms by ", "ours / ")]
    return _table([f"{batch_size:,} rows", "ms a step", "ours / sum", *peers], rows)


def memory(batch_size: int, peaks: Mapping[str, float]) -> str:
    """MiB of each method by our path and by torchjd's."""
    rows = []
    for name in _methods(peaks):
        results = [peaks.get(key) for key in (name, *(f"{name}, {path}" for path in PEERS))]
        rows.append([name, *("" if mib is None else f"{mib:,.0f}" for mib in results)])
    return _table([f"{batch_size:,} rows", "MiB", *(f"MiB by {path}" for path in PEERS)], rows)


def ways(batch_size: int, turns: Mapping[str, Sequence[float]]) -> str:
    """All ways to ask torchjd for UPGrad."""
    rows = [[name, _ms(s), _ratio(turns["ours"], s)] for name, s in turns.items()]
    return _table([f"UPGrad, {batch_size:,} rows", "ms a step", "ours / it"], rows)


def agreement(results: Mapping[str, float]) -> str:
    """The largest difference of each method."""
    methods: dict[str, float] = {}
    for name, difference in results.items():
        method = name.partition(", ")[0]
        methods[method] = max(difference, methods.get(method, 0.0))
    rows = [[method, f"{difference:.1e}"] for method, difference in methods.items()]
    return _table(["method", "largest difference to torchjd's, all ways"], rows)


def passes(batch_size: int, results: Mapping[str, Mapping[str, Any]]) -> str:
    """Elements that combining reads and writes, and its time."""
    rows = [
        [
            name,
            f"{one['elements']:,}",
            f"{one['reads']:.2f}",
            f"{one['writes']:.2f}",
            f"{one['time_in_plain_passes']:.1f} x {one['plain_pass_ms']:.1f} ms",
        ]
        for name, one in results.items()
    ]
    return _table(
        [f"{batch_size:,} rows", "elements of G", "reads / G", "writes / G", "time / G.sum()"], rows
    )


def cosines(batch_size: int, seen: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """How near other ways to measure cosines are to all rows', in the last half of the steps."""
    (_, exact), *others = seen.items()
    late = range(len(exact) // 2, len(exact))
    spread = statistics.median(statistics.pstdev(exact[i]) for i in late)
    rows = []
    for name, measured in others:
        pairs = [(measured[i], exact[i]) for i in late]
        errors = [math.dist(mine, theirs) / math.sqrt(len(mine)) for mine, theirs in pairs]
        alike = [statistics.correlation(mine, theirs) for mine, theirs in pairs]
        error = f"{statistics.median(errors):.4f}"
        rows.append([name, error, f"{spread:.4f}", f"{statistics.median(alike):.2f}"])
    head = [f"cosines, {batch_size:,} rows", "error", "spread of the exact", "correlation with it"]
    return _table(head, rows)


def _ms(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):,.0f}"


def _methods(names: Iterable[str]) -> list[str]:
    return [name for name in names if method_and_way(name)[1] == "ours"]


def _ratio(mine: Sequence[float], theirs: Sequence[float]) -> str:
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
