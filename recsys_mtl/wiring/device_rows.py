"""Where a training's rows are selected: on the host, or on a GPU that has room for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Literal

import torch

from recsys_mtl.data.batch import Batch
from recsys_mtl.data.loader import Loader, MemoryLoader
from recsys_mtl.data.on_device import CopiedLoader, HeldLoader
from recsys_mtl.errors import wrong

log = logging.getLogger(__name__)
_SHARE = 0.25
"""Of the free memory once the network is there: optimizer and activations need the rest."""


def rows_for(
    device: torch.device, loader: Loader, rows_on: Literal["auto", "host", "device"]
) -> Loader:
    """The loader's batches on the device; those of a stream on the host, a step moves them.

    What a GPU cannot do is left to the host, with a warning.

    Args:
        device: of the network.
        loader: of the training rows.
        rows_on: where they are selected; on a CPU there is one memory.

    Raises:
        UserError: the device is asked for, and rows are streamed or do not fit.
    """
    if device.type == "cpu":
        return loader
    if not isinstance(loader, MemoryLoader):
        if rows_on == "device":
            raise wrong(
                "streamed rows cannot be held on a device",
                where="data.rows_on",
                expected="auto or host",
                found=rows_on,
                fix="set data.rows_on=auto, or hold them: data.loading=memory",
            )
        return loader
    size = loader.rows.num_bytes
    if rows_on == "device" or (rows_on == "auto" and size <= _SHARE * _free(device)):
        try:
            held = _same_first(HeldLoader, loader, device)
        except RuntimeError as error:
            if rows_on == "device":
                raise wrong(
                    f"{size / 2**20:,.0f} MiB of training rows cannot be held on {device}",
                    where="data.rows_on",
                    found=str(error).splitlines()[0],
                    fix="set data.rows_on=host",
                ) from error
            log.warning("training rows stay on the host: %s", str(error).splitlines()[0])
        else:
            log.info("%.0f MB of training rows are held on %s", size / 2**20, device)
            return held
    try:
        return _same_first(CopiedLoader, loader, device)
    except RuntimeError as error:
        log.warning("a step copies its batch itself: %s", str(error).splitlines()[0])
        return loader


def _same_first(
    make: Callable[[MemoryLoader, torch.device], Loader], loader: MemoryLoader, device: torch.device
) -> Loader:
    """The loader that is made, after its first batch was compared with that of the host.

    Raises:
        RuntimeError: they differ, or the device cannot make it.
    """
    made = make(loader, device)
    for there, here in zip(made.epoch(0), loader.epoch(0), strict=True):
        if not _equal(there, here):
            raise RuntimeError(f"{device} selects other rows than the host")
        break
    return made


def _equal(there: Batch, here: Batch) -> bool:
    """Whether all tensors have the same bits."""
    pairs = zip(there.tensors(), here.tensors(), strict=True)
    return all(torch.equal(a.cpu().nan_to_num(0.5), b.nan_to_num(0.5)) for a, b in pairs)


def _free(device: torch.device) -> int:
    """Bytes of memory that nobody has on a GPU."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else 0
