"""What preparing learns from the training rows: enough to prepare again without reading them.

A checkpoint stores it, so that a resumed training neither fits nor samples a second time.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from recsys_mtl.columns.vocabulary import Vocabulary
from recsys_mtl.config.recipe import DataSize, RecipeName
from recsys_mtl.data.blocks import Blocks
from recsys_mtl.data.preprocess import Preprocessor
from recsys_mtl.data.splits import Splits
from recsys_mtl.errors import UserError, wrong
from recsys_mtl.features.table import features_by_table, stored_vocabularies

PREPROCESSOR, FACTS, EXAMPLE = "preprocessor.json", "fitting.json", "example.parquet"


@dataclass(frozen=True)
class Fitting:
    """What was learned from the training rows.

    Attributes:
        preprocessor: fitted.
        fingerprint: of the data.
        size: of the data, which the recipe goes by.
        recipe: of the model that training starts from, if it decides.
        blocks: where the training rows lie.
        warnings: suspicious data that is no error (leaks).
        example: a few raw training rows, features only.
    """

    preprocessor: Preprocessor
    fingerprint: str
    size: DataSize
    recipe: RecipeName | None
    blocks: Blocks
    warnings: list[str] = field(default_factory=list)
    example: pl.DataFrame = field(default_factory=pl.DataFrame)

    def to_files(self) -> dict[str, bytes]:
        """Files by name, restored exactly by `from_files`.

        Vocabularies of many millions are not among them but named by their folder, which other
        processes of the machine read; see `Preprocessor.files`.
        """
        rows = io.BytesIO()
        self.example.write_parquet(rows)
        facts = {
            "fingerprint": self.fingerprint,
            "size": asdict(self.size),
            "recipe": self.recipe,
            "blocks": [self.blocks.starts.tolist(), self.blocks.counts.tolist()],
            "warnings": self.warnings,
            "counts": {table: coder.counts for table, coder in _vocabularies(self.preprocessor)},
            "folders": [str(c.folder) for c in stored_vocabularies(self.preprocessor.features)],
        }
        fitted = json.dumps(self.preprocessor.to_dict(), allow_nan=False)
        return {
            PREPROCESSOR: fitted.encode(),
            FACTS: json.dumps(facts).encode(),
            EXAMPLE: rows.getvalue(),
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], folder: Path | None = None) -> Fitting:
        """What `to_files` stored.

        Args:
            files: of `to_files`.
            folder: of `Preprocessor.files`; None: where they were.

        Raises:
            UserError: one of these is missing or damaged.
        """
        facts = json.loads(files[FACTS])
        size, counts = DataSize(**facts.pop("size")), facts.pop("counts")
        folders = facts.pop("folders", [])
        blocks = Blocks(*(np.array(numbers, np.int64) for numbers in facts.pop("blocks")))
        preprocessor = Preprocessor.from_dict(json.loads(files[PREPROCESSOR]))
        for table, coder in _vocabularies(preprocessor):
            coder.counts = counts[table]  # which a model does without
        stored = stored_vocabularies(preprocessor.features)
        for vocabulary, its_folder in zip(stored, folders, strict=True):
            if folder is None and not Path(its_folder).is_dir():
                raise _out_of_reach(its_folder)
            vocabulary.adopt(folder or Path(its_folder))
        example = pl.read_parquet(io.BytesIO(files[EXAMPLE]))
        return cls(preprocessor=preprocessor, size=size, blocks=blocks, example=example, **facts)

    def require_same(self, splits: Splits, where: str = "--resume") -> None:
        """The data are those of this fitting.

        Args:
            splits: of the data.
            where: `--resume`, or `data.path` where rank 0 fitted just now.

        Raises:
            UserError: they are others.
        """
        if splits.fingerprint() != self.fingerprint:
            resumed = where == "--resume"
            raise wrong(
                "the data are not those that the training began with"
                if resumed
                else "a process has other data than the first one",
                where=where,
                expected=f"fingerprint {self.fingerprint[:16]}",
                found=splits.fingerprint()[:16],
                fix="restore them, or start anew with --resume never"
                if resumed
                else "give all machines the same files, or a shared folder",
            )


def _out_of_reach(folder: str) -> UserError:
    return wrong(
        "a vocabulary in a file reaches only processes of one machine",
        where=folder,
        found="no such folder on this machine",
        fix="set $TMPDIR to a folder that the machines share, or storage: memory",
    )


def _vocabularies(preprocessor: Preprocessor) -> Iterator[tuple[str, Vocabulary]]:
    """Table -> its vocabulary."""
    for table, (feature, *_) in features_by_table(preprocessor.features).items():
        if isinstance(feature.coder, Vocabulary):
            yield table, feature.coder
