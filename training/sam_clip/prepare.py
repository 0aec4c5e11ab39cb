"""Before the first step: what is frozen, and how fast the rest moves."""

from __future__ import annotations

from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.training.sam_clip.settings import SamClip, SamClipPart

_TRAINED: dict[SamClipPart, tuple[str, ...]] = {
    "head": ("clip_head",),
    "all": ("clip_head", "image_encoder", "mask_decoder"),
    "masks": ("image_encoder", "prompt_encoder", "mask_decoder"),
}
_SLOWER = ("image_encoder", "mask_decoder")
"""What SAM has learned (section 3.3): it moves slower, so as not to be forgotten."""


def prepare_sam_clip(model: SamClipModel, settings: SamClip) -> None:
    """Freeze what is not trained, in place."""
    model.requires_grad_(False)
    for name in _TRAINED[settings.train]:
        model.get_submodule(name).requires_grad_(True)


def scales_of_sam_clip(model: SamClipModel, settings: SamClip) -> dict[str, float]:
    """Return the factor of the learning rate of every parameter that does not have it whole."""
    if settings.train != "all":
        return {}
    return {
        name: settings.learning_rate_scale
        for name, _ in model.named_parameters()
        if name.partition(".")[0] in _SLOWER
    }
