"""From the section `adatt` to the transfer of a training step."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from recsys_mtl.adatt import (
    AdaTT,
    Schedule,
    Selection,
    Settings,
    Shapes,
    group_prior,
    make_measure,
)
from recsys_mtl.columns.spec import TaskSpec
from recsys_mtl.config.adatt import AdaTTConfig
from recsys_mtl.config.check_adatt import adatt_warnings
from recsys_mtl.config.schema import Config
from recsys_mtl.losses import TaskLosses
from recsys_mtl.model import MultiTaskNetwork
from recsys_mtl.training.transfer import (
    Borrow,
    BorrowSettings,
    GradientTransfer,
    LossTransfer,
    Probe,
    Transfer,
)

log = logging.getLogger(__name__)
Mechanism = Callable[[Config, AdaTT, Probe], Transfer]


def build_transfer(
    config: Config, network: MultiTaskNetwork, losses: TaskLosses, device: torch.device | str
) -> Transfer | None:
    """AdaTT for that network; None where it is off."""
    if config.adatt.mechanism == "off":
        return None
    for warning in adatt_warnings(config):
        log.warning("%s", warning)
    section, tasks = config.adatt, network.tasks
    probe = Probe(network, losses, tasks, section.measure.rows, config.training.precision)
    adatt = AdaTT(
        network.task_names,
        make_measure(
            section.measure_name,
            Shapes(
                tasks=len(tasks),
                experts=len(network.shared_expert_parameters()),
                inputs=network.in_features,
                widths=tuple(task.outputs for task in tasks),
            ),
            decay=section.measure.decay,
            debias=section.measure.debias,
            scope=section.measure.scope,
        ),
        Schedule(section.warmup_epochs, section.freeze_epoch),
        prior=_prior(section, tasks),
        settings=_settings(section),
    )
    return _MECHANISMS[section.mechanism](config, adatt, probe).to(device)


def _prior(section: AdaTTConfig, tasks: tuple[TaskSpec, ...]) -> Tensor:
    groups = {n: (g.tasks, g.strength) for n, g in section.prior.groups.items()}
    names = [task.name for task in tasks]
    return group_prior(names, groups, inter_strength=section.prior.between)


def _settings(section: AdaTTConfig) -> Settings:
    return Settings(
        strength=section.strength,
        max_ratio=section.max_ratio,
        selection=Selection(section.threshold, section.temperature, section.masking),
        learn_weights=section.learn_weights and section.mechanism == "loss",
        interval=section.measure.interval,
        blend_start=section.prior.start,
        blend_end=section.prior.end,
    )


def _plain(kind: type[Transfer]) -> Mechanism:
    def make(config: Config, adatt: AdaTT, probe: Probe) -> Transfer:
        return kind(adatt, probe, freeze_gates=config.adatt.freeze_gates)

    return make


def _borrow(config: Config, adatt: AdaTT, probe: Probe) -> Transfer:
    borrow = config.adatt.borrow
    return Borrow(
        adatt,
        probe,
        probe.losses.tasks,
        width=probe.network.own_width,
        settings=BorrowSettings(borrow.strength, borrow.donors, borrow.scarce == "rare"),
        freeze_gates=config.adatt.freeze_gates,
    )


_MECHANISMS: dict[str, Mechanism] = {
    "loss": _plain(LossTransfer),
    "gradient": _plain(GradientTransfer),
    "borrow": _borrow,
}
