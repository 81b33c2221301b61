"""What several processes cannot train together."""

from __future__ import annotations

from collections.abc import Iterator

from recsys_mtl.config.schema import Config
from recsys_mtl.errors import Problem, UserError


def require_shareable(config: Config, world: int, *, baselines: bool = False) -> None:
    """So many processes can train the config together.

    Args:
        config: the run.
        world: number of processes.
        baselines: whether baselines are to be trained too.

    Raises:
        UserError: they cannot; all reasons.
    """
    problems = list(_problems(config, world, baselines)) if world > 1 else []
    if problems:
        raise UserError(*problems)


def _problems(config: Config, world: int, baselines: bool) -> Iterator[Problem]:
    multiple, training = f"a multiple of {world}, the number of processes", config.training
    if training.batch_size % world:
        yield Problem(
            "processes share each batch", "training.batch_size", multiple, str(training.batch_size)
        )
    if config.data.loading == "stream" and config.data.lanes % world:
        lanes = str(config.data.lanes)
        yield Problem("processes share the lanes", "data.lanes", multiple, lanes)
    if config.model.architecture.name == "home":
        yield Problem(
            "its batch normalisation would know the rows of one process alone",
            "model.architecture",
            "one process, or another architecture",
            "home",
        )
    if baselines:
        yield Problem(
            "baselines are trained by one process",
            "--baselines",
            fix="leave it out, or train in one process",
        )
