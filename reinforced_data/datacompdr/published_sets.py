"""Whose embeddings lie end to end in a row of Apple's reinforced sets."""

from __future__ import annotations

import json
from pathlib import Path

from zoo.reinforced_data.sidecars.header import TeacherInfo


def _vit_l_14(name: str, pretrained: str, logit_scale: float) -> TeacherInfo:
    return TeacherInfo(
        name=name,
        pretrained=pretrained,
        embed_dim=768,
        image_size=224,
        logit_scale=logit_scale,
        storage="fp32",
    )


# Order: `model_name` and `pretrained` of ml-mobileclip `training/configs/datacompdr12m.json`, and
# of ml-mobileclip-dr `examples/run_embgen.sh`. Scales: MobileCLIP, section 4.1, and
# `--distill-logit-scale` of `training/configs/run_dfndr2b.sh`.
PUBLISHED_SETS: dict[str, tuple[TeacherInfo, ...]] = {
    "datacompdr": (
        _vit_l_14("openai-vit-l-14", "ViT-L-14@openai", 100.0),
        _vit_l_14("datacomp-vit-l-14", "ViT-L-14@datacomp_xl_s13b_b90k", 100.0),
    ),
    "dfndr": (
        _vit_l_14("dfn2b-vit-l-14", "hf-hub:apple/DFN2B-CLIP-ViT-L-14", 70.0),
        _vit_l_14("dfn2b-39b-vit-l-14", "hf-hub:apple/DFN2B-CLIP-ViT-L-14-39B", 60.0),
    ),
}
"""Teachers of DataCompDR-1B and -12M and of DFNDR-2B and -12M, in the order of their embeddings."""


def teachers_of(spec: str) -> tuple[TeacherInfo, ...]:
    """Return the teachers of a published set, or those that a JSON file of the user's lists.

    The file holds a list, in the order of the embeddings, of objects with `name`, `pretrained`,
    `embed_dim`, `image_size` and `logit_scale`. Raises ValueError for an unknown set or a file
    that says something else.
    """
    if spec in PUBLISHED_SETS:
        return PUBLISHED_SETS[spec]
    path = Path(spec)
    if not path.is_file():
        raise ValueError(
            f"There is no set {spec!r}; give {', '.join(PUBLISHED_SETS)} or a JSON file that "
            "lists the teachers."
        )
    try:
        entries = json.loads(path.read_bytes())
        return tuple(TeacherInfo(**entry, storage="fp32") for entry in entries)
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(
            f"'{path}' does not list teachers ({error}); write a JSON list of objects with name, "
            "pretrained, embed_dim, image_size and logit_scale."
        ) from error
