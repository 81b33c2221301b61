"""From a folder of CelebA to its splits."""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from recsys_mtl.data.splits import SPLITS, SplitName
from recsys_mtl.errors import wrong
from recsys_mtl.files import delete_left
from recsys_mtl.vision.celeba.cache import DecodePlan, Pixels, build, cached
from recsys_mtl.vision.celeba.decode import ImageGeometry
from recsys_mtl.vision.celeba.layout import find_images
from recsys_mtl.vision.celeba.lists import read_lists
from recsys_mtl.vision.celeba.split import CelebaSplit
from recsys_mtl.vision.images import Broken, LeftOut

log = logging.getLogger(__name__)

_SPARE = 16 << 20  # bytes for the small files, and what the file system needs itself
_ALL: Mapping[SplitName, int | None] = dict.fromkeys(SPLITS)


def load_celeba(
    root: Path,
    *,
    attributes: Sequence[str],
    size: int,
    crop: int | None = 178,
    cache: Path | None = None,
    workers: int | None = None,
    max_broken: float = 0.01,
    only_present: bool = False,
    splits: Mapping[SplitName, int | None] = _ALL,
) -> dict[SplitName, CelebaSplit]:
    """Official splits, decoded by the first call and then reused.

    Missing and unreadable images are logged and left out.

    Args:
        root: folder with `img_align_celeba/`, `list_attr_celeba` and `list_eval_partition`, the
            lists as .txt or .csv; the official `Img/`, `Anno/` and `Eval/` work too.
        attributes: names of the tasks, such as `Smiling`.
        size: height and width of the decoded images.
        crop: edge of the centre square that is kept, in pixels; None for the largest one.
        cache: folder of the decoded images; None for `root/cache`.
        workers: threads that decode; None for one a core.
        max_broken: largest share of a split that may be broken.
        only_present: images without a file are left out first and are not broken.
        splits: which, and how many of their images to keep at most, the first by name.

    Raises:
        UserError: the folder is not one of CelebA, an attribute is unknown, too many images are
            broken, or the cache cannot be written.
    """
    listed, folder = read_lists(root, attributes, [*splits]), find_images(root)
    used = listed
    if only_present:
        with os.scandir(folder) as entries:
            files = {entry.name for entry in entries}
        used = {split: images.present(files) for split, images in listed.items()}
    absent = {split: len(listed[split].names) - len(used[split].names) for split in splits}
    used = {split: used[split].first(count) for split, count in splits.items()}
    plans = {}
    for split, images in used.items():
        name = f"celeba_{split}_{size}_{crop or 'full'}"
        name += "" if splits[split] is None else f"_first{len(images.names)}"
        array = (cache or root / "cache") / f"{name}.npy"
        plans[split] = DecodePlan(split, folder, images.names, ImageGeometry(size, crop), array)
        _require_few(plans[split], plans[split].missing, max_broken)
    loaded = {}
    for split, pixels in _pixels(plans, workers).items():
        _require_few(plans[split], pixels.broken, max_broken)
        count, images = len(listed[split].names), used[split]
        left_out = LeftOut(count, absent[split], pixels.broken, len(images.names))
        if pixels.broken:
            log.warning("%s: left out %s", split, left_out.broken_text)
        loaded[split] = CelebaSplit(images, pixels, attributes, left_out)
    return loaded


def _pixels(plans: Mapping[SplitName, DecodePlan], workers: int | None) -> dict[SplitName, Pixels]:
    """From the cache where it is valid."""
    kept = {split: cached(plan) for split, plan in plans.items()}
    todo = [plan for split, plan in plans.items() if kept[split] is None]
    if todo:
        prepare_cache(todo[0].array.parent, todo)
    return {split: kept[split] or build(plan, workers) for split, plan in plans.items()}


def _require_few(plan: DecodePlan, broken: tuple[Broken, ...], share: float) -> None:
    count = len(plan.names)
    if not count:
        raise wrong(f"no image of the split {plan.split}", where=str(plan.folder), found="0 files")
    if len(broken) > share * count or len(broken) == count:
        missing = all(reason == "missing" for _, reason in broken)
        raise wrong(
            f"too many broken images in {plan.split}",
            where=str(plan.folder),
            expected=f"at most {share:.2%}, and not all",
            found=LeftOut(count, 0, broken, count).broken_text,
            fix="leave them out with dataset.only_present=true" if missing else "",
        )


def prepare_cache(folder: Path, plans: Sequence[DecodePlan]) -> None:
    """Makes the folder, and deletes what killed runs left of these arrays.

    Raises:
        UserError: the folder cannot be written to, or has no free space for the arrays.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise wrong(
            "cannot write the decoded images there",
            where=str(folder),
            found=error.strerror or error,
            fix="name a folder that can be written to as the cache",
        ) from error
    for plan in plans:
        with suppress(OSError):
            delete_left(folder, f"{plan.array.stem}.*")
    needed = sum(math.prod(plan.shape) for plan in plans) + _SPARE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise wrong(
            "no free space for the decoded images",
            where=str(folder),
            expected=f"{needed / 2**30:.2f} GiB free",
            found=f"{free / 2**30:.2f} GiB",
            fix="free some, name another folder as the cache, or choose a smaller size",
        )
