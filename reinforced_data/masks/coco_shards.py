"""COCO's pictures and annotations as shards: KEY.jpg, KEY.json with its instances, KEY.txt."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.reinforced_data.randomness import packing_order
from zoo.reinforced_data.shards.sample import Sample
from zoo.reinforced_data.shards.write import write_shards

_KEPT = ("id", "bbox", "area", "iscrowd", "category_id", "segmentation")


def pack_coco(
    images: Path,
    instances: Path,
    output: Path,
    *,
    captions: Path | None = None,
    samples_per_shard: int = 1000,
) -> list[Path]:
    """Write the pictures of a COCO data set as shards and return their paths.

    Every sample holds the picture's bytes unchanged, its annotations as
    {"image": …, "annotations": […], "categories": {id: name}} and, where `captions` is given, its
    captions. They stand in a random order, since a loader mixes neighbouring shards only; the same
    files give the same shards.

    Args:
        images: folder of the pictures.
        instances: `instances_*.json`.
        output: where the tars go; it must hold none yet.
        captions: `captions_*.json`.

    Raises FileNotFoundError for a file or picture that is not there, and ValueError for a file
    that is not as COCO's or an output that holds shards.
    """
    content = read_coco(instances)
    names = {str(one["id"]): one["name"] for one in content.get("categories", [])}
    objects = by_image(content["annotations"])
    texts = by_image(read_coco(captions)["annotations"]) if captions else {}
    samples = (
        _sample(images, record, objects[record["id"]], texts.get(record["id"], ()), names)
        for record in (content["images"][i] for i in packing_order(len(content["images"])))
    )
    return write_shards(samples, output, samples_per_shard=samples_per_shard)


def read_coco(path: Path) -> dict[str, Any]:
    """Return the content of one of COCO's files of annotations.

    Raises FileNotFoundError where there is none, and ValueError for a file of another form.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file '{path}'; give one of COCO's annotations.")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}).") from error
    missing = {"images", "annotations"} - set(content if isinstance(content, dict) else ())
    if missing:
        raise ValueError(
            f"'{path}' has no {' and no '.join(sorted(missing))}; expected a file as COCO's "
            "instances_val2017.json."
        )
    return content


def by_image(annotations: Sequence[dict[str, Any]]) -> defaultdict[int, list[dict[str, Any]]]:
    """Return the annotations of each picture, by its id."""
    found: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
    for annotation in annotations:
        found[annotation["image_id"]].append(annotation)
    return found


def picture_file(folder: Path, record: Mapping[str, Any]) -> Path:
    """Return where the picture of an entry of `images` is; FileNotFoundError if it is not."""
    path = folder / record["file_name"]
    if not path.is_file():
        raise FileNotFoundError(f"There is no picture '{path}', which the annotations name.")
    return path


def _sample(
    folder: Path,
    record: Mapping[str, Any],
    objects: Sequence[Mapping[str, Any]],
    captions: Sequence[Mapping[str, Any]],
    names: Mapping[str, str],
) -> Sample:
    content = {
        "image": {name: record[name] for name in ("id", "width", "height")},
        "annotations": [{name: one[name] for name in _KEPT if name in one} for one in objects],
        "categories": names,
    }
    return Sample(
        key=Path(record["file_name"]).stem.replace(".", "_"),
        image=picture_file(folder, record).read_bytes(),
        captions=tuple(one["caption"] for one in captions),
        extra={"json": json.dumps(content).encode()},
    )
