"""The typed sections of a plan's YAML: customers, columns, tasks and their relations."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from data_synth.targets import Complement, Task
from recsys_mtl.config.section import Fraction, Name, NonNegative, Section

Share = Annotated[float, Field(ge=0.0, le=1.0)]
Correlation = Annotated[float, Field(ge=-1.0, le=1.0)]
Ids = Annotated[int, Field(ge=2, le=10_000_000)]


class Customers(Section):
    """Who the rows are about."""

    rows_each: Annotated[float, Field(ge=1.0)] = Field(6.0, description="mean rows of a customer")
    personas: Annotated[int, Field(ge=2, le=64)] = Field(6, description="clusters of customers")
    persistence: Share = Field(
        0.7, description="share of the state's variance that is the customer's, not the row's"
    )
    nuisance: Annotated[int, Field(ge=0, le=256)] = Field(
        2, description="dimensions of the state that no task reads"
    )


class Period(Section):
    """When the rows happen."""

    start: str = Field("2024-01-01", description="first day, ISO 8601")
    days: Annotated[int, Field(ge=14, le=3660)] = Field(182, description="length in days")

    @field_validator("start")
    @classmethod
    def _is_a_date(cls, value: str) -> str:
        try:
            if date.fromisoformat(value).isoformat() == value:
                return value
        except ValueError:
            pass
        raise ValueError(f"start must be a date such as 2024-01-31, not {value}")


class Score(Section):
    """The parts of a task's score; the state has the rest of the variance."""

    items: Fraction = Field(0.2, description="share of a score's variance due to the items' ids")
    time: Fraction = Field(
        0.05, description="share of a score's variance due to the day: drift and seasons"
    )
    one_sided: Share = Field(
        0.85,
        description="0: a score is linear in the state; 1: a hinge, flat on one side. What makes "
        "conflict real, see docs/synthetic.md",
    )

    @model_validator(mode="after")
    def _leaves_something(self) -> Score:
        if self.items + self.time >= 1.0:
            raise ValueError("items + time must leave a share for the state: below 1")
        return self


class Missing(Section):
    """Nulls in the numeric columns, at random and not in turns; in age at random, in income not."""

    at_random: Fraction = Field(
        0.05, description="share of nulls in number_01, number_03 … and age"
    )
    not_at_random: Annotated[float, Field(ge=0.0, le=0.5)] = Field(
        0.1,
        description="share of nulls in number_02, number_04 … and income; the larger the value, "
        "the more often it is missing",
    )


class Features(Section):
    """The columns for a model, in addition to day_number and weekday."""

    revealed: Share = Field(
        0.85, description="share of the state's variance that the columns are about"
    )
    noise: Fraction = Field(0.1, description="share of a column's variance that is its own noise")
    demographics: bool = Field(
        True, description="age, income, tenure_months, household, education, region"
    )
    numeric: Annotated[int, Field(ge=0, le=2000)] = Field(12, description="numeric columns")
    categorical: list[Ids] = Field(
        [10, 100, 1000, 10_000], description="ids of each categorical column"
    )
    items: list[Ids] = Field(
        [1000, 100_000], description="ids of each item column; items act on the scores themselves"
    )
    lists: list[Ids] = Field([500], description="ids of each list-valued column")
    list_length: Annotated[float, Field(gt=0.0, le=1000.0)] = Field(
        4.0, description="mean length of a list"
    )
    zipf: Annotated[float, Field(ge=0.0, le=2.0)] = Field(
        1.1, description="exponent of the ids' use: id of rank r is used about r^-zipf"
    )
    missing: Missing = Missing()
    drift: NonNegative = Field(
        0.2, description="shift of numeric columns over the period, in standard deviations"
    )


class Group(Section):
    """Tasks that belong together."""

    tasks: list[str] = Field(min_length=1, description="names of tasks; a task is in one group")
    within: Correlation = Field(description="correlation of the true scores of two of its tasks")


class Pair(Section):
    """A pair that differs from its groups."""

    between: Annotated[list[str], Field(min_length=2)] = Field(
        description="two names of tasks or groups"
    )
    value: Correlation = Field(description="correlation of the true scores")

    @field_validator("between")
    @classmethod
    def _two(cls, names: list[str]) -> list[str]:
        if len(names) != 2 or names[0] == names[1]:
            raise ValueError("between needs two different names")
        return names


class Relations(Section):
    """Correlation of the true scores of every two tasks: above 0 aligned, below 0 conflicting."""

    groups: dict[Name, Group] = Field({}, description="by a name of your choice")
    between: Correlation = Field(0.0, description="for two tasks that share no group")
    exceptions: list[Pair] = Field([], description="in this order; later ones win")


class Plan(Section):
    """One synthetic data set."""

    name: Name = Field(description="of the data set")
    preset: str | None = Field(None, description="ready plan that this one changes")
    seed: Annotated[int, Field(ge=0, lt=2**31)] = Field(0, description="of everything")
    customers: Customers = Customers()
    period: Period = Period()
    score: Score = Score()
    features: Features = Features()
    tasks: dict[Name, Task] = Field(min_length=1, description="by name, which is its column too")
    relations: Relations = Relations()

    @property
    def scored(self) -> tuple[str, ...]:
        """Tasks with their own score: all except the complements."""
        return tuple(name for name, task in self.tasks.items() if not isinstance(task, Complement))
