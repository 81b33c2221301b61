"""`Run`: the interface of a job to an experiment tracker, and the run that tracks nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Status = Literal["FINISHED", "FAILED", "KILLED"]


@dataclass(frozen=True)
class PackagedModel:
    """A trained model, ready to be logged as a pyfunc from code.

    Attributes:
        code: the file that defines the pyfunc and calls `mlflow.models.set_model`.
        bundle: folder of the weights; the pyfunc's artifact `bundle`.
        package: zip file of the Python package that `code` imports.
        signature: an `mlflow.models.ModelSignature`.
        example: a few raw rows, a pandas DataFrame.
        requirements: pinned requirements of inference.
        metadata: JSON-able facts stored with the model.
        step: the epoch of its weights; the run's metrics of that step are shown with the model.
    """

    code: Path
    bundle: Path
    package: Path
    signature: Any
    example: Any
    requirements: tuple[str, ...]
    metadata: Mapping[str, Any]
    step: int = 0


@dataclass(frozen=True)
class LoggedData:
    """The data set of a run, as trackers show it.

    Attributes:
        name: of the data.
        fingerprint: of their content.
        paths: files, folders or URIs, where they were read.
        profile: JSON-able facts, such as rows by split.
        columns: name and kind of each column that is used.
    """

    name: str
    fingerprint: str
    paths: tuple[str, ...]
    profile: Mapping[str, Any]
    columns: Mapping[str, str]


class Run(Protocol):
    """A tracked run; as a context manager it ends FINISHED, FAILED or, on Ctrl-C, KILLED."""

    @property
    def id(self) -> str | None:
        """The tracker's id of the run; None where nothing is tracked."""

    @property
    def uri(self) -> str | None:
        """The tracking URI; None where nothing is tracked."""

    @property
    def experiment_id(self) -> str | None:
        """The tracker's id of the experiment; None where nothing is tracked."""

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters, flat, each name once in a run."""

    def metrics(
        self, values: Mapping[str, float | None], step: int, *, at: float | None = None
    ) -> None:
        """Log numbers of one step (an epoch); None and NaN mean undefined and are left out.

        `at`: when they were measured, in seconds since 1970; None: now.
        """

    def text(self, name: str, text: str) -> None:
        """Store `text` as the file `name`."""

    def figure(self, name: str, figure: Figure) -> None:
        """Store a figure as the image file `name` (`plots/loss.png`)."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Store a file, or a folder's content, under `folder`."""

    def model(self, name: str, model: PackagedModel) -> str | None:
        """Log a model and return its URI; None where it could not be logged."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Set tags."""

    def describe(self, markdown: str) -> None:
        """Set the text that the run's page begins with."""

    def data(self, data: LoggedData) -> None:
        """Name the data set that the run was trained on."""

    def end(self, status: Status) -> None:
        """End the run, once; a later `end` changes nothing."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class NullRun:
    """The run of a job that is not tracked: every call does nothing."""

    id: None = None
    uri: None = None
    experiment_id: None = None

    def params(self, values: Mapping[str, object]) -> None:
        """Do nothing."""

    def metrics(
        self, values: Mapping[str, float | None], step: int, *, at: float | None = None
    ) -> None:
        """Do nothing."""

    def text(self, name: str, text: str) -> None:
        """Do nothing."""

    def figure(self, name: str, figure: Figure) -> None:
        """Do nothing."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """Do nothing."""

    def model(self, name: str, model: PackagedModel) -> None:
        """Do nothing."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Do nothing."""

    def describe(self, markdown: str) -> None:
        """Do nothing."""

    def data(self, data: LoggedData) -> None:
        """Do nothing."""

    def end(self, status: Status) -> None:
        """Do nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return None
