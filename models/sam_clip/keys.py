"""Checkpoint keys of SAM's parts: the original naming, transformers' and timm's, against ours.

Ours: `image_encoder.` + timm's keys of its tower, and `prompt_encoder.` and `mask_decoder.` as the
original names them. The namings and who writes them: segment-anything's `sam_vit_b_01ec64.pth`,
transformers' `SamModel`, timm's `samvit_base_patch16`, which is a tower alone. What a SAM-CLIP has
beside them, its CLIP head and its text tower, has our naming only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from zoo.models.card import SamClipCard
from zoo.models.checkpoint import Checkpoint, StateDict
from zoo.models.key_table import KeyTable, Rule

SamNaming = Literal["zoo", "sam", "transformers", "timm"]

CLIP_HEAD, TEXT = "clip_head.", "text_encoder."
_IMAGE, _PROMPT, _DECODER = "image_encoder", "prompt_encoder", "mask_decoder"
_POSITIONS = f"{_PROMPT}.pe_layer.positional_encoding_gaussian_matrix"
_SHARED_POSITIONS = f"{_PROMPT}.shared_embedding.positional_embedding"
_PATCHES = f"{_IMAGE}.patch_embed.proj.weight"

SAM = KeyTable(
    [
        Rule(f"{_IMAGE}.blocks.{{i}}.mlp.fc1.{{leaf}}", f"{_IMAGE}.blocks.{{i}}.mlp.lin1.{{leaf}}"),
        Rule(f"{_IMAGE}.blocks.{{i}}.mlp.fc2.{{leaf}}", f"{_IMAGE}.blocks.{{i}}.mlp.lin2.{{leaf}}"),
        *(Rule(f"{part}.{{rest*}}", f"{part}.{{rest*}}") for part in (_IMAGE, _PROMPT, _DECODER)),
    ]
)


def _numbered(ours: str, theirs: str, names: Mapping[int, str]) -> list[Rule]:
    """Layers that a `Sequential` numbers and transformers names."""
    return [
        Rule(f"{ours}.{number}.{{leaf}}", f"{theirs}.{name}.{{leaf}}")
        for number, name in names.items()
    ]


_CONVOLUTIONS = {0: "conv1", 1: "layer_norm1", 2: "conv2", 3: "layer_norm2"}
_MASK_CONVOLUTIONS = {0: "conv1", 1: "layer_norm1", 3: "conv2", 4: "layer_norm2", 6: "conv3"}
_PERCEPTRON = {0: "proj_in", 1: "layers.0", 2: "proj_out"}


def _transformers_tower() -> list[Rule]:
    vision = "vision_encoder"
    block, layer = f"{_IMAGE}.blocks.{{i}}", f"{vision}.layers.{{i}}"
    return [
        Rule(f"{_IMAGE}.patch_embed.proj.{{leaf}}", f"{vision}.patch_embed.projection.{{leaf}}"),
        *(Rule(f"{block}.norm{n}.{{leaf}}", f"{layer}.layer_norm{n}.{{leaf}}") for n in (1, 2)),
        *(Rule(f"{block}.mlp.fc{n}.{{leaf}}", f"{layer}.mlp.lin{n}.{{leaf}}") for n in (1, 2)),
        Rule(f"{block}.{{rest*}}", f"{layer}.{{rest*}}"),
        *_numbered(f"{_IMAGE}.neck", f"{vision}.neck", _CONVOLUTIONS),
        Rule(f"{_IMAGE}.{{rest*}}", f"{vision}.{{rest*}}"),
    ]


def _transformers_prompt_encoder() -> list[Rule]:
    return [
        # The positions of prompts and of the picture are one matrix under two names.
        Rule(_POSITIONS, "shared_image_embedding.positional_embedding"),
        Rule(_POSITIONS, _SHARED_POSITIONS),
        Rule(f"{_PROMPT}.point_embeddings.{{i}}.{{leaf}}", f"{_PROMPT}.point_embed.{{i}}.{{leaf}}"),
        *_numbered(f"{_PROMPT}.mask_downscaling", f"{_PROMPT}.mask_embed", _MASK_CONVOLUTIONS),
        Rule(f"{_PROMPT}.{{rest*}}", f"{_PROMPT}.{{rest*}}"),
    ]


def _transformers_mask_decoder() -> list[Rule]:
    transformer, networks = f"{_DECODER}.transformer", f"{_DECODER}.output_hypernetworks_mlps.{{n}}"
    layer, head = f"{transformer}.layers.{{i}}", f"{_DECODER}.iou_prediction_head"
    upscaling = {0: "upscale_conv1", 1: "upscale_layer_norm", 3: "upscale_conv2"}
    final = "norm_final_attn.{leaf}"
    return [
        *(
            Rule(f"{layer}.norm{n}.{{leaf}}", f"{layer}.layer_norm{n}.{{leaf}}")
            for n in (1, 2, 3, 4)
        ),
        Rule(f"{transformer}.{final}", f"{transformer}.layer_{final}"),
        *_numbered(f"{_DECODER}.output_upscaling", _DECODER, upscaling),
        *_numbered(f"{networks}.layers", networks, _PERCEPTRON),
        *_numbered(f"{head}.layers", head, _PERCEPTRON),
        Rule(f"{_DECODER}.{{rest*}}", f"{_DECODER}.{{rest*}}"),
    ]


TRANSFORMERS = KeyTable(
    [*_transformers_tower(), *_transformers_prompt_encoder(), *_transformers_mask_decoder()]
)

# A tower alone, its hidden layers named as timm's or as the original's.
_TIMM = KeyTable(
    [
        *(
            Rule(f"{_IMAGE}.blocks.{{i}}.mlp.fc{n}.{{leaf}}", f"blocks.{{i}}.mlp.lin{n}.{{leaf}}")
            for n in (1, 2)
        ),
        Rule(f"{_IMAGE}.{{rest*}}", "{rest*}"),
    ]
)

_OTHER_MODELS: dict[str, tuple[str, ...]] = {
    "a SAM 2": ("image_encoder.trunk.", "vision_encoder.backbone.", "sam_mask_decoder."),
    "a MobileSAM": ("image_encoder.layers.", "image_encoder.patch_embed.seq."),
    "an HQ-SAM": ("mask_decoder.hf_token", "mask_decoder.hq_token"),
}
"""Relatives of SAM that are no SAM, and keys that only they have."""
_SIZES = {768: "ViT-B", 1024: "ViT-L", 1280: "ViT-H"}
"""Of the published SAM, by the width of their tokens."""
_WHERE = (
    "sam_vit_b_01ec64.pth of segment-anything, the folder of facebook/sam-vit-base, or timm's "
    "samvit_base_patch16"
)


def detect_naming(checkpoint: Checkpoint) -> SamNaming:
    """Return whose keys these are.

    Raises ValueError for a relative of SAM that is no SAM, and where the keys are nobody's.
    """
    keys = checkpoint.state.keys()
    for kind, signs in _OTHER_MODELS.items():
        if any(key.startswith(signs) for key in keys):
            raise ValueError(
                f"'{checkpoint.source}' is {kind}, which has other parts than SAM; give a SAM "
                f"ViT-B: {_WHERE}."
            )
    if any(key.startswith("vision_encoder.") for key in keys):
        return "transformers"
    if any(key.startswith("patch_embed.proj.") for key in keys):
        return "timm"
    if _PATCHES in keys:
        return "sam" if any(".mlp.lin" in key for key in keys if key.startswith(_IMAGE)) else "zoo"
    first = ", ".join(sorted(keys)[:3]) or "none"
    raise ValueError(
        f"The keys of '{checkpoint.source}' ({first}, …) are neither a SAM's nor a SAM-CLIP's; "
        f"give weights that zoo wrote, or a SAM: {_WHERE}."
    )


def import_state(card: SamClipCard, checkpoint: Checkpoint) -> StateDict:
    """Return all that a file holds, in our naming.

    Raises ValueError for keys that are neither a SAM's nor a SAM-CLIP's, and for a SAM of another
    width than the card's.
    """
    naming = detect_naming(checkpoint)
    tables = {"sam": SAM, "transformers": TRANSFORMERS, "timm": _TIMM}
    state = dict(checkpoint.state)
    if naming != "zoo":
        state = tables[naming].import_state(state)
    _check_width(card, checkpoint.source, state)
    return state


def export_sam(state: Mapping[str, Tensor], model: str, naming: SamNaming) -> StateDict:
    """Return SAM's parts of a whole state of ours under the original's or transformers' names."""
    parts = {
        key: value
        for key, value in state.items()
        if key.startswith((f"{_IMAGE}.", f"{_PROMPT}.", f"{_DECODER}."))
    }
    if naming == "sam":
        return SAM.export_state(parts, model, "segment-anything")
    return TRANSFORMERS.export_state(parts, model, naming) | {
        _SHARED_POSITIONS: parts[_POSITIONS].clone()
    }


def _check_width(card: SamClipCard, source: str, state: Mapping[str, Tensor]) -> None:
    patches = state.get(_PATCHES)
    if patches is None or len(patches) == card.width:
        return
    size = _SIZES.get(len(patches))
    whose = f"SAM {size}'s" if size else "a SAM's"
    fits = f"give a SAM ViT-B: {_WHERE}" if card.width == 768 else "load it under its own name"
    raise ValueError(
        f"'{source}' holds {whose} tower, whose tokens are {len(patches)} wide, but those of "
        f"{card.name} are {card.width}; {fits}."
    )
