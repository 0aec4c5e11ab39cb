"""Which packages a model becomes."""

from __future__ import annotations

import copy

from zoo.export.image_text_parts import image_text_parts
from zoo.export.part import Part
from zoo.export.sam_clip_parts import sam_clip_parts
from zoo.export.vision_parts import (
    vision_language_parts,
    vision_tower_parts,
    without_language_model,
)
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.models.fastvlm.vision_tower import VisionTower
from zoo.models.image_text_model import ImageTextModel
from zoo.models.sam_clip.sam_clip_model import SamClipModel

ExportableModel = ImageTextModel | VisionLanguageModel | VisionTower


def parts_of(model: ExportableModel) -> tuple[Part, ...]:
    """Return what of `model` becomes a package each, on copies: `model` stays as it is."""
    if isinstance(model, VisionLanguageModel):
        model = without_language_model(model)  # gigabytes that need no copy
    model = copy.deepcopy(model).float().cpu().eval()
    if isinstance(model, SamClipModel):
        return sam_clip_parts(model)
    if isinstance(model, ImageTextModel):
        return image_text_parts(model)
    if isinstance(model, VisionTower):
        return vision_tower_parts(model)
    return vision_language_parts(model)
