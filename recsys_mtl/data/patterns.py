"""A feature whose name is a pattern, such as `onehot_*`, stands for all columns that it matches."""

from __future__ import annotations

from fnmatch import fnmatchcase

from recsys_mtl.config.check import column_of, label_of
from recsys_mtl.config.data import GroupSplitConfig, TimeSplitConfig
from recsys_mtl.config.features import FeatureConfig
from recsys_mtl.config.schema import Config
from recsys_mtl.config.tables import with_parts
from recsys_mtl.data.csv_header import delimiter_of, read_header
from recsys_mtl.data.files import find_files
from recsys_mtl.data.formats import ParquetReader
from recsys_mtl.data.opening import data_root
from recsys_mtl.errors import Problem, UserError, did_you_mean


def expanded(config: Config) -> Config:
    """The config with a feature for each column that a pattern matches, in the pattern's position.

    A pattern leaves out columns that are features by their own name, labels, the weight, the
    split's column, or in `data.ignore`. Of several patterns the first takes a column. A name that a
    column has is no pattern, whatever signs it holds.

    Raises:
        UserError: a pattern matches no column, or the columns cannot be read.
    """
    patterns = [name for name, feature in config.features.items() if _is_pattern(name, feature)]
    if not patterns:
        return config
    columns = _columns(config)
    taken = _other_roles(config) | (config.features.keys() - (set(patterns) - set(columns)))
    free = [
        column
        for column in columns
        if column not in taken and not any(fnmatchcase(column, p) for p in config.data.ignore)
    ]
    features: dict[str, FeatureConfig] = {}
    problems = []
    for name, feature in config.features.items():
        if name not in patterns or name in columns:
            features[name] = feature
            continue
        matched = [column for column in free if fnmatchcase(column, name)]
        free = [column for column in free if column not in matched]
        features |= dict.fromkeys(matched, feature)
        if not matched:
            problems.append(
                Problem(
                    "the pattern matches no column",
                    f"features.{name}",
                    "a column that has no other role",
                    fix=did_you_mean(name.replace("*", ""), free),
                )
            )
    if problems:
        raise UserError(*problems)
    return config.model_copy(update={"features": features})


def _is_pattern(name: str, feature: FeatureConfig) -> bool:
    return feature.column is None and any(sign in name for sign in "*?")


def _columns(config: Config) -> list[str]:
    """The columns of the first file of the training rows."""
    data = config.data
    file = find_files(data.path, root=data_root(config), fmt=data.format, where="data.path")[0]
    if file.format == "csv":
        wanted = config.features.keys() | _other_roles(config)
        delimiter = delimiter_of(file, data.csv)
        names = [*read_header(file, "data.path", data.csv, delimiter, wanted).names]
    else:
        names = [*ParquetReader(file, "data.path").types]
    return list(dict.fromkeys([*names, *file.partitions]))


def _other_roles(config: Config) -> set[str]:
    """Labels, the weight, groups and segments, parts of sequences, the split's column."""
    roles = {label_of(name, task) for name, task in config.tasks.items()}
    roles |= {config.data.weight} if config.data.weight else set()
    roles |= {*config.evaluation.keys}
    roles |= {column_of(n, f) for n, at, f in with_parts(config.features) if len(at) > 2}
    split = config.data.split
    return roles | (
        {split.column} if isinstance(split, GroupSplitConfig | TimeSplitConfig) else set()
    )
