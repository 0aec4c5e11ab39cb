"""Benchmarks whose maps hold a label a pixel, as their authors or mmsegmentation lay them out.

Every reader takes the folder and a split and returns pictures with their label maps, by name. It
raises FileNotFoundError where a folder, a list or a file is missing.
"""

from __future__ import annotations

from pathlib import Path

from zoo.eval.segmentation.class_names import CITYSCAPES, CONTEXT, VOC
from zoo.eval.segmentation.class_names_ade import ADE20K
from zoo.eval.segmentation.class_names_coco import (
    ABSENT_FROM_STUFF,
    STUFF,
    THINGS,
)
from zoo.eval.segmentation.labelled_pictures import (
    IGNORED,
    ClassesOf,
    LabelledPicture,
    existing,
    value_classes,
)

_CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Label id of each class (`labels.py` of cityscapesScripts); the other ids to 33 are ignored."""


def read_voc(folder: Path, split: str, *, background: bool) -> list[LabelledPicture]:
    """VOC 2012: `JPEGImages/*.jpg`, `SegmentationClass/*.png` (0 background, 1…20, 255),
    `ImageSets/Segmentation/SPLIT.txt`.
    """
    return _listed(
        folder,
        folder / "ImageSets" / "Segmentation" / f"{split}.txt",
        "SegmentationClass",
        _classes_after_zero(len(VOC), background),
    )


def read_context(folder: Path, split: str, *, background: bool) -> list[LabelledPicture]:
    """Pascal Context as mmsegmentation converts it: `JPEGImages/*.jpg`,
    `SegmentationClassContext/*.png` (0 background, 1…59, by name),
    `ImageSets/SegmentationContext/SPLIT.txt`.
    """
    return _listed(
        folder,
        folder / "ImageSets" / "SegmentationContext" / f"{split}.txt",
        "SegmentationClassContext",
        _classes_after_zero(len(CONTEXT), background),
    )


def read_ade20k(folder: Path, split: str) -> list[LabelledPicture]:
    """ADE20K's scene parsing benchmark: `images/SPLIT/*.jpg`, `annotations/SPLIT/*.png` (0 is what
    is none of the 150 classes, and ignored).
    """
    return _beside(
        folder / "images" / split,
        folder / "annotations" / split,
        _classes_after_zero(len(ADE20K), background=False),
    )


def read_coco_stuff(folder: Path, split: str) -> list[LabelledPicture]:
    """COCO-Stuff 164k: `images/SPLIT/*.jpg` and in `annotations/SPLIT` either mmsegmentation's
    `*_labelTrainIds.png` (0…170) or the authors' `*.png` (category ids less one, 0…181).
    """
    maps = folder / "annotations" / split
    count = len(THINGS) + len(STUFF)
    if any(maps.glob("*_labelTrainIds.png")):
        identity = {index: index for index in range(count)} | {IGNORED: IGNORED}
        suffix, classes_of = "_labelTrainIds.png", value_classes(identity, IGNORED)
    else:
        ids = [id for id in range(1, 183) if id not in ABSENT_FROM_STUFF]
        by_value = {id - 1: index for index, id in enumerate(ids)} | {IGNORED: IGNORED}
        suffix, classes_of = ".png", value_classes(by_value, IGNORED)
    return _beside(folder / "images" / split, maps, classes_of, map_suffix=suffix)


def read_cityscapes(folder: Path, split: str) -> list[LabelledPicture]:
    """Cityscapes: `leftImg8bit/SPLIT/CITY/*_leftImg8bit.png` and in `gtFine/SPLIT/CITY` either
    `*_gtFine_labelTrainIds.png` (0…18) or `*_gtFine_labelIds.png` (0…33).
    """
    pictures = sorted(require_folder(folder / "leftImg8bit" / split).glob("*/*_leftImg8bit.png"))
    maps = require_folder(folder / "gtFine" / split)
    if any(maps.glob("*/*_gtFine_labelTrainIds.png")):
        by_value = {index: index for index in range(len(CITYSCAPES))} | {IGNORED: IGNORED}
        suffix = "_gtFine_labelTrainIds.png"
    else:
        classes = {id: index for index, id in enumerate(_CITYSCAPES_IDS)}
        by_value = {id: classes.get(id, IGNORED) for id in range(34)}
        suffix = "_gtFine_labelIds.png"
    classes_of = value_classes(by_value, IGNORED)
    return existing(
        [
            LabelledPicture(
                name=(stem := picture.name.removesuffix("_leftImg8bit.png")),
                picture=picture,
                labels=maps / picture.parent.name / f"{stem}{suffix}",
                classes_of=classes_of,
            )
            for picture in pictures
        ]
    )


def _listed(folder: Path, path: Path, maps: str, classes_of: ClassesOf) -> list[LabelledPicture]:
    if not path.is_file():
        raise FileNotFoundError(f"There is no list '{path}'.")
    names = path.read_text(encoding="utf-8").split()
    return existing(
        [
            LabelledPicture(
                name=name,
                picture=folder / "JPEGImages" / f"{name}.jpg",
                labels=folder / maps / f"{name}.png",
                classes_of=classes_of,
            )
            for name in names
        ]
    )


def _beside(
    pictures: Path, maps: Path, classes_of: ClassesOf, *, map_suffix: str = ".png"
) -> list[LabelledPicture]:
    return existing(
        [
            LabelledPicture(
                name=picture.stem,
                picture=picture,
                labels=require_folder(maps) / f"{picture.stem}{map_suffix}",
                classes_of=classes_of,
            )
            for picture in sorted(require_folder(pictures).glob("*.jpg"))
        ]
    )


def require_folder(path: Path) -> Path:
    """Return `path`; FileNotFoundError where there is no such folder."""
    if not path.is_dir():
        raise FileNotFoundError(f"There is no folder '{path}'.")
    return path


def _classes_after_zero(count: int, background: bool) -> ClassesOf:
    """Of maps that hold 0 for the background and 1…`count` for the classes."""
    if background:
        return value_classes(
            {value: value for value in range(count + 1)} | {IGNORED: IGNORED}, IGNORED
        )
    by_value = {value: value - 1 for value in range(1, count + 1)}
    return value_classes(by_value | {0: IGNORED, IGNORED: IGNORED}, IGNORED)
