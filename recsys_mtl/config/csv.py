"""The section `data.csv`: how CSV files are written, and its settings from a command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from recsys_mtl.config.explain import explain
from recsys_mtl.config.section import Section
from recsys_mtl.config.yaml_text import dotted, parse
from recsys_mtl.errors import Problem, UserError, wrong


class CsvConfig(Section):
    """How CSV files are written."""

    delimiter: str | None = Field(
        None, description="one character (`tab` for a tab); null: a tab in .tsv files, else a comma"
    )
    decimal: Literal[".", ","] = Field(".", description="decimal mark of numbers")
    header: bool = Field(True, description="whether the first row holds the names of the columns")
    columns: list[str] | None = Field(
        None, description="names of all columns in their order; needed without a header"
    )
    encoding: str = Field("utf-8", description="a name that Python knows: cp1252, utf-16, …")
    null_values: list[str] = Field(
        [], description="fields that mean missing in any column, as an empty field does"
    )

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, delimiter: str | None) -> str | None:
        delimiter = "\t" if delimiter in ("tab", "\\t") else delimiter
        if delimiter is not None and not re.fullmatch(r"[\t !#-\-/:-@[-`{-~]", delimiter):
            raise ValueError(
                "delimiter needs one character that is no letter, digit, quote or point, in quotes"
            )
        return delimiter

    @field_validator("encoding")
    @classmethod
    def _known(cls, encoding: str) -> str:
        try:
            "a,1".encode(encoding)
        except (LookupError, ValueError) as error:
            raise ValueError(
                f"encoding: no text encoding of Python is called {encoding!r}"
            ) from error
        return encoding

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.header and not self.columns:
            raise ValueError("header: false needs columns, the names of all columns")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError("columns holds a name twice")
        if self.delimiter == self.decimal:
            raise ValueError("delimiter and decimal are the same character")
        return self


def with_settings(config: CsvConfig, settings: Sequence[str]) -> CsvConfig:
    """A section with some keys changed.

    Args:
        config: the section.
        settings: `key=value`, such as `delimiter=;`; nothing means null.

    Raises:
        UserError: every key that is unknown, and every value that may not be.
    """
    changed = config.model_dump()
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise wrong("no setting", where=f"--csv {setting}", expected="KEY=VALUE: delimiter=';'")
        as_text = key in ("delimiter", "decimal", "encoding")
        changed[key] = (value or None) if as_text else parse(value, f"--csv {setting}").data
    try:
        return CsvConfig.model_validate(changed)
    except ValidationError as error:
        raise UserError(
            *(
                Problem(f.what, f"--csv {dotted(f.path)}", f.expected, f.found, f.fix)
                for f in explain(error, CsvConfig)
            )
        ) from error
