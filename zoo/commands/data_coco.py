"""`zoo data coco`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from zoo.commands.console import say
from zoo.reinforced_data.masks.coco_shards import pack_coco


def data_coco(
    images: Annotated[Path, tyro.conf.Positional],
    instances: Annotated[Path, tyro.conf.Positional],
    output: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    captions: Path | None = None,
    samples_per_shard: int = 1000,
) -> None:
    """Write COCO's pictures with their instances as shards to OUTPUT, for `zoo reinforce masks`.

    Args:
        images: folder of the pictures.
        instances: COCO's instances_….json, or any file of its form.
        output: where the tars go; it must hold none yet.
        captions: COCO's captions_….json, to train on the captions too.
        samples_per_shard: pictures a tar.
    """
    shards = pack_coco(
        images, instances, output, captions=captions, samples_per_shard=samples_per_shard
    )
    say(f"wrote {len(shards)} shards to {output}")
