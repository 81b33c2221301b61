"""What `validate` prints of the rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recsys_mtl.data.splits import SPLITS
from recsys_mtl.memory import in_bytes
from recsys_mtl.reports.cells import number
from recsys_mtl.reports.page import Page, Table

_MOST_RATES = 3


def profile_page(result: Mapping[str, Any]) -> Page:
    """Labels and features by split, from what `validate` gives."""
    copies = ", ".join(f"{split} {_share(share)}" for split, share in result["copies"].items())
    return Page(
        f"copies of rows of an earlier split: {copies}",
        [
            Table("Labels", ["task", "", *SPLITS], _label_rows(result["labels"]), texts=2),
            Table(
                "Features",
                ["feature", "kind", "distinct", "table", *(f"null {s}" for s in SPLITS), *_NEW],
                _feature_rows(result["features"]),
                texts=2,
                dense=True,
                note="distinct: of the training rows. table: rows × width (min_count). new: share "
                "of the values that never occur there; of numbers, that lie outside their range."
                " Numbers in bins: how many there are of those asked for.",
            ),
        ],
    )


_PLACEMENTS = {
    "replicated": "with all tables in each",
    "table": "with each table in one",
    "row": "with the rows of each table over all",
}


def sizes_lines(sizes: Mapping[str, Any]) -> list[str]:
    """What a process needs, from `sizes` of what `validate` gives."""
    rows, weights = in_bytes(sizes["rows"]), in_bytes(sizes["replicated"])
    lines = [f"memory of a process: {weights} of weights and their states, {rows} of rows"]
    sent = [f"{in_bytes(count)} {_PLACEMENTS[name]}" for name, count in sizes["sent"].items()]
    if sent:
        lines.append(f"sent by each of {sizes['processes']} in a step: {', '.join(sent)}")
        less = in_bytes(sizes["sharded"])
        lines.append(f"with tables spread over them: {less} of weights and their states")
    return lines


_NEW = tuple(f"new {split}" for split in SPLITS[1:])


def _label_rows(labels: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for task, by_split in labels.items():
        rows.append([task, "labelled", *(f"{by_split[s]['labelled']:,}" for s in SPLITS)])
        rates = by_split["train"]["base_rate"]
        for name in sorted(rates, key=lambda name: -abs(rates[name]))[:_MOST_RATES]:
            cells = (number(by_split[s]["base_rate"].get(name), ".4g") for s in SPLITS)
            rows.append(["", name, *cells])
    return rows


def _feature_rows(features: Mapping[str, Any]) -> list[list[str]]:
    return [
        [
            name,
            feature["kind"],
            f"{feature['distinct']:,}" if "distinct" in feature else "",
            _size(feature),
            *(_share(feature["nulls"].get(split)) for split in SPLITS),
            *(_share(feature["new"][split]) for split in SPLITS[1:]),
        ]
        for name, feature in features.items()
    ]


def _size(feature: Mapping[str, Any]) -> str:
    """A table's size, and `min_count` where it leaves values out; or bins."""
    if "bins" in feature:
        return "{got} of {asked}".format(**feature["bins"])
    if "table" not in feature:
        return ""
    table = feature["table"]
    least = table["min_count"] or 1
    name = f"{table['name']}: " if "name" in table else ""
    return f"{name}{table['rows']:,} × {table['dim']}" + (f" ({least})" if least > 1 else "")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.1%}"
