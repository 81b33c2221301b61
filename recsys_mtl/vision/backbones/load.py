"""Weights of a backbone from a local file; nothing in the file is executed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from recsys_mtl.errors import wrong

_HEAD = "fc."  # the ImageNet classes of published weights
_COUNTER = ".num_batches_tracked"  # files older than this counter are complete without it
_SHOWN = 3


def load_weights(backbone: nn.Module, path: Path) -> str:
    """Copies a file's weights into the backbone, all of them or none.

    A head for ImageNet's classes (`fc.*`) in the file is left out.

    Args:
        backbone: receives the weights, on its device.
        path: `.safetensors`, or else a state dict saved by `torch.save`, alone or under
            `state_dict`.

    Returns:
        Sixteen hexadecimal digits of the copied weights, whatever the file is called.

    Raises:
        UserError: no such file, a damaged one, one that holds more than tensors, or weights of
            another network.
    """
    own = backbone.state_dict()
    tensors = {name: value for name, value in _read(path).items() if not name.startswith(_HEAD)}
    required = [name for name in own if not name.endswith(_COUNTER)]
    differences = {
        "missing": [name for name in required if name not in tensors],
        "unexpected": [name for name in tensors if name not in own],
        "of another shape": [
            f"{name} {_shape(tensors[name])} instead of {_shape(value)}"
            for name, value in own.items()
            if name in tensors and not _fits(tensors[name], value)
        ],
    }
    if any(differences.values()):
        raise wrong(
            "weights of another network",
            where=str(path),
            expected="exactly the tensors of the backbone",
            found="; ".join(
                f"{len(names)} {kind}: {_first(names)}"
                for kind, names in differences.items()
                if names
            ),
            fix="use weights of this network",
        )
    backbone.load_state_dict({**own, **tensors})
    digest = hashlib.sha256()
    for name in required:
        digest.update(own[name].detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of the file by name."""
    if not path.is_file():
        raise wrong("no such file of weights", where=str(path), expected="a local file")
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in too many ways to name
        raise wrong(
            "cannot read the weights",
            where=str(path),
            expected="a complete .safetensors file, or tensors alone saved by torch.save",
            found=f"{type(error).__name__} (objects other than tensors are never loaded)",
            fix="get the file again, or save its state dict as .safetensors",
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    return _tensors(content, path)


def _tensors(content: object, path: Path) -> dict[str, Tensor]:
    """The content, where it is a state dict."""
    if not isinstance(content, Mapping):
        contents = type(content).__name__
    else:
        others = [name for name, value in content.items() if not isinstance(value, Tensor)]
        if not others:
            return {str(name): value for name, value in content.items()}
        contents = _first([f"{name} ({type(content[name]).__name__})" for name in others])
    raise wrong(
        "not a state dict", where=str(path), expected="a tensor under each name", found=contents
    )


def _fits(value: Tensor, own: Tensor) -> bool:
    """Whether copying keeps every number as it is, but for its precision."""
    plain = value.layout == torch.strided and not value.is_meta
    same_kind = value.is_floating_point() == own.is_floating_point() and not value.is_complex()
    return plain and same_kind and value.shape == own.shape


def _shape(value: Tensor) -> str:
    """`float32 (2, 3)`."""
    return f"{str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"


def _first(names: Sequence[str]) -> str:
    """The first three, and … where there are more."""
    return ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
