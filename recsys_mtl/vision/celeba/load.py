"""From a folder of CelebA to its three splits."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from recsys_mtl.data.splits import SPLITS, SplitName
from recsys_mtl.errors import wrong
from recsys_mtl.vision.celeba.cache import DecodePlan, Pixels, build, cached
from recsys_mtl.vision.celeba.decode import Broken, ImageGeometry
from recsys_mtl.vision.celeba.free_space import prepare_cache
from recsys_mtl.vision.celeba.layout import find_images
from recsys_mtl.vision.celeba.lists import Listed, read_lists
from recsys_mtl.vision.celeba.split import CelebaSplit

log = logging.getLogger(__name__)

_SHOWN = 5  # names of broken images in a message


def load_celeba(
    root: Path,
    *,
    attributes: Sequence[str],
    size: int,
    crop: int | None = 178,
    cache: Path | None,
    workers: int,
    max_broken: float = 0.01,
    rows: tuple[int, int, int] | None = None,
) -> dict[SplitName, CelebaSplit]:
    """The official splits, decoded by the first call and then reused.

    Missing and unreadable images are logged and left out.

    Args:
        root: folder with `img_align_celeba/`, `list_attr_celeba` and `list_eval_partition`, the
            lists as .txt or .csv; the official `Img/`, `Anno/` and `Eval/` work too.
        attributes: names of the tasks, such as `Smiling`.
        size: height and width of the decoded images.
        crop: edge of the centre square that is kept, in pixels; None for the largest one.
        cache: folder of the decoded images; None for `root/cache`.
        workers: processes that decode; with 1, this one does.
        max_broken: largest share of a split that may be broken.
        rows: how many train, valid and test images to keep at most, the first by name.

    Raises:
        UserError: the folder is not one of CelebA, an attribute is unknown, too many images are
            broken, or the cache cannot be written.
    """
    _check(size, crop, workers, max_broken, rows)
    listed = read_lists(root, attributes)
    if rows is not None:
        kept = dict(zip(SPLITS, rows, strict=True))
        listed = {split: mine.first(kept[split]) for split, mine in listed.items()}
    geometry, folder = ImageGeometry(size, crop), cache or root / "cache"
    plans = _plan(listed, find_images(root), geometry, folder, cut=rows is not None)
    for plan in plans.values():
        _require_few(plan, plan.missing, max_broken)
    pixels = _pixels(plans, workers)
    for split, plan in plans.items():
        _require_few(plan, pixels[split].broken, max_broken)
        if pixels[split].broken:
            log.warning("%s: left out %s", split, _described(pixels[split].broken, len(plan.names)))
    return {split: CelebaSplit(listed[split], pixels[split], attributes) for split in SPLITS}


def _check(
    size: int,
    crop: int | None,
    workers: int,
    max_broken: float,
    rows: tuple[int, int, int] | None,
) -> None:
    """Raises a `UserError` for numbers outside their range."""
    numbers = {"size": size, "crop": 1 if crop is None else crop, "workers": workers}
    for name, number in numbers.items():
        if number < 1:
            raise wrong(name, expected="at least 1", found=number)
    if not 0 <= max_broken <= 1:
        raise wrong("max_broken", expected="a share from 0 to 1", found=max_broken)
    if rows is not None and min(rows) < 1:
        raise wrong("rows", expected="at least one image of each split", found=rows)


def _plan(
    listed: Mapping[SplitName, Listed],
    images: Path,
    geometry: ImageGeometry,
    cache: Path,
    *,
    cut: bool,
) -> dict[SplitName, DecodePlan]:
    """The decoding of each split; different settings have different files."""
    plans = {}
    for split, mine in listed.items():
        name = f"celeba_{split}_{geometry.size}_{geometry.crop or 'full'}"
        name += f"_first{len(mine.names)}" if cut else ""
        plans[split] = DecodePlan(split, images, mine.names, geometry, cache, name)
    return plans


def _pixels(plans: Mapping[SplitName, DecodePlan], workers: int) -> dict[SplitName, Pixels]:
    pixels = {split: kept for split, plan in plans.items() if (kept := cached(plan))}
    missing = {split: plan for split, plan in plans.items() if split not in pixels}
    if missing:
        prepare_cache(missing.values())
        pixels |= dict(zip(missing, build(missing.values(), workers), strict=True))
    return pixels


def _require_few(plan: DecodePlan, broken: tuple[Broken, ...], share: float) -> None:
    if len(broken) > share * len(plan.names) or len(broken) == len(plan.names):
        raise wrong(
            f"too many broken images in {plan.split}",
            where=str(plan.folder),
            expected=f"at most {share:.2%}, and not all",
            found=_described(broken, len(plan.names)),
        )


def _described(broken: tuple[Broken, ...], count: int) -> str:
    """Their number, and the first of them."""
    first = ", ".join(f"{name} ({reason})" for name, reason in broken[:_SHOWN])
    more = f" and {len(broken) - _SHOWN} more" if len(broken) > _SHOWN else ""
    return f"{len(broken)} of {count} images that are missing or unreadable: {first}{more}"
