"""The state of a training step and its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from recsys_mtl.model.embeddings import Embeddings
from recsys_mtl.training.state import StateOwner
from recsys_mtl.training.step import TrainingStep


class ModuleState(StateOwner):
    """A module's `state_dict`; its `get_extra_state` has to give plain values."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers."""
        state = self._module.state_dict()
        return {name: value for name, value in state.items() if isinstance(value, Tensor)}

    def values(self) -> dict[str, Any]:
        """Extra state."""
        state = self._module.state_dict()
        return {name: value for name, value in state.items() if not isinstance(value, Tensor)}

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Copies into the module's own tensors."""
        self._module.load_state_dict({**tensors, **values})


class TablesState(StateOwner):
    """The optimizer that is fused into the embedding tables; its rate is set at every step."""

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings

    def tensors(self) -> dict[str, Tensor]:
        """The accumulators by table; none for SGD."""
        return self._embeddings.accumulators()

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Copies into the accumulators."""
        self._embeddings.load_optimizer_state(tensors)


class OptimizerState(StateOwner):
    """The moments of a torch optimizer, by the names of its parameters.

    Its rates are set at every step. A parameter has no moments before its first gradient.

    Args:
        optimizer: whose state is tensors only.
        parameters: by name; those of other optimizers are ignored.
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]
    ) -> None:
        self._optimizer = optimizer
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        self._parameters = {name: p for name, p in parameters.items() if id(p) in own}

    def tensors(self) -> dict[str, Tensor]:
        """`PARAMETER.exp_avg` and so on."""
        state = self._optimizer.state
        return {
            f"{name}.{key}": value
            for name, parameter in self._parameters.items()
            for key, value in state.get(parameter, {}).items()
        }

    def values(self) -> list[str]:
        """The names of the parameters that have moments."""
        return [name for name, p in self._parameters.items() if self._optimizer.state.get(p)]

    def reserve(self, values: Any) -> None:
        """Creates the moments of these parameters and removes those of the others."""
        state = self._optimizer.state
        new = [p for name, p in self._parameters.items() if name in values and not state.get(p)]
        for name, parameter in self._parameters.items():
            if name not in values:
                state.pop(parameter, None)
        if new:
            self._make_moments(new)

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Copies into the moments."""
        for name, live in self.tensors().items():
            live.copy_(tensors[name])

    def _make_moments(self, parameters: list[nn.Parameter]) -> None:
        """By a step at a rate of 0 with gradients of 0, which moves no parameter."""
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]
        gradients = [(p, p.grad) for p in self._parameters.values()]
        for parameter, _ in gradients:
            parameter.grad = None
        for parameter in parameters:
            parameter.grad = torch.zeros_like(parameter)
        for group in groups:
            group["lr"] = 0.0
        self._optimizer.step()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
        for parameter, gradient in gradients:
            parameter.grad = gradient


class ScalerState(StateOwner):
    """The loss scale of fp16; nothing in other precisions."""

    def __init__(self, scaler: torch.amp.GradScaler) -> None:
        self._scaler = scaler

    def values(self) -> dict[str, Any]:
        """The scale and its growth."""
        return self._scaler.state_dict()

    def load(self, tensors: Mapping[str, Tensor], values: Any) -> None:
        """Sets both."""
        self._scaler.load_state_dict(values)


def step_parts(step: TrainingStep) -> dict[str, StateOwner]:
    """Every part of a step that has state."""
    modules: dict[str, nn.Module] = {"network": step.network, "balancer": step.balancer}
    if step.transfer is not None:
        modules["transfer"] = step.transfer
    parameters = {
        f"{part}.{name}": parameter
        for part, module in modules.items()
        for name, parameter in module.named_parameters()
    }
    if step.combining is not None:
        modules |= {"combiner": step.combining.combiner, "conflicts": step.combining.log}
    return {
        **{name: ModuleState(module) for name, module in modules.items()},
        "tables": TablesState(step.network.embeddings),
        "optimizer": OptimizerState(step.optimizer, parameters),
        "scaler": ScalerState(step.scaler),
    }
