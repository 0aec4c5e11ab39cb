"""Checkpoint keys of FastVLM: Apple's original naming and transformers', against ours.

Ours: `image_encoder.` + timm's keys, `projector.0` and `.2`, `language_model.` + the keys of
transformers' causal language model. The namings and who writes them: `llava_qwen.py` and
`mobileclip_encoder.py` of the original; transformers' `FastVlmForConditionalGeneration`.
"""

from __future__ import annotations

import re

from zoo.models.card import Naming
from zoo.models.checkpoint import Checkpoint, StateDict
from zoo.models.key_table import KeyTable, Rule
from zoo.models.mobileclip.keys import apple_mci_rules

_IMAGE, _PROJECTOR, _LANGUAGE = "image_encoder", "projector", "language_model"
_APPLE_IMAGE = "model.vision_tower.vision_tower.model"

APPLE = KeyTable(
    [
        *apple_mci_rules(_IMAGE, _APPLE_IMAGE),
        Rule(f"{_PROJECTOR}.{{i}}.{{leaf}}", "model.mm_projector.{i}.{leaf}"),
        # What is left of the tower and the projector stays as it is, to be reported.
        *(Rule(f"{part}.{{rest*}}", f"{part}.{{rest*}}") for part in (_APPLE_IMAGE, "model.mm")),
        Rule(f"{_LANGUAGE}.{{rest*}}", "{rest*}"),
    ]
)


def _transformers_rules(model: str, language: str, head: str) -> list[Rule]:
    return [
        Rule(f"{_IMAGE}.{{rest*}}", f"{model}vision_tower.timm_model.{{rest*}}"),
        Rule(f"{_PROJECTOR}.0.{{leaf}}", f"{model}multi_modal_projector.linear_1.{{leaf}}"),
        Rule(f"{_PROJECTOR}.2.{{leaf}}", f"{model}multi_modal_projector.linear_2.{{leaf}}"),
        Rule(f"{_LANGUAGE}.model.{{rest*}}", f"{language}.{{rest*}}"),
        Rule(f"{_LANGUAGE}.lm_head.{{leaf}}", f"{head}.{{leaf}}"),
    ]


TRANSFORMERS = KeyTable(
    [
        *_transformers_rules("model.", "model.language_model", "lm_head"),
        # As transformers names the parts of every LLaVA in files.
        *_transformers_rules("", "language_model.model", "language_model.lm_head"),
    ]
)

_SIGNS: dict[Naming, tuple[str, ...]] = {
    "apple": ("model.vision_tower.vision_tower.", "model.mm_projector."),
    "transformers": ("model.vision_tower.timm_model.", "vision_tower.timm_model."),
    "zoo": ("image_encoder.",),
}
_MLX_SIGNS = ("multi_modal_projector.linear_0.", "mm_projector.", "vision_tower.vision_model.")
_APPLE_TOWER = KeyTable(apple_mci_rules(_IMAGE, "tower"))
_FIRST_OF_TOWER = re.compile(r"(.*?)(patch_embed|stem)\.0\..+")


def table_of(naming: Naming) -> KeyTable:
    """Return the table between ours and `naming`, which is Apple's or transformers'."""
    return APPLE if naming == "apple" else TRANSFORMERS


def detect_naming(checkpoint: Checkpoint) -> Naming:
    """Return whose keys a FastVLM's are.

    Raises ValueError for an export to MLX, and where they belong to no FastVLM.
    """
    refuse_mlx(checkpoint)
    for naming, signs in _SIGNS.items():
        if any(key.startswith(signs) for key in checkpoint.state):
            return naming
    raise ValueError(
        f"The keys of '{checkpoint.source}' ({_first_keys(checkpoint)}, …) are not those of a "
        "FastVLM in Apple's, transformers' or zoo's naming; give a whole model's weights."
    )


def import_state(checkpoint: Checkpoint, naming: Naming) -> StateDict:
    """Return a FastVLM's weights in our naming, without the CLIP head that it does not use.

    A key that no rule knows stays as it is, to be reported with the others that do not fit.
    """
    state = checkpoint.state
    if naming != "zoo":
        state = table_of(naming).import_state(state)
    return {key: value for key, value in state.items() if not key.startswith(f"{_IMAGE}.head.")}


def import_tower_state(checkpoint: Checkpoint) -> StateDict:
    """Return the image tower of any file that holds one, in our naming, with its CLIP head if any.

    The naming is Apple's or timm's, under any prefix: the files of FastVLM in every naming are
    read, those of MobileCLIP-S3 and MobileCLIP2-S3, and a tower alone. Raises ValueError without
    one.
    """
    refuse_mlx(checkpoint)
    first = next(filter(None, map(_FIRST_OF_TOWER.fullmatch, checkpoint.state)), None)
    if first is None:
        raise ValueError(
            f"The keys of '{checkpoint.source}' ({_first_keys(checkpoint)}, …) hold no FastViTHD; "
            "give the weights of a FastVLM, of MobileCLIP2-S3, or of the tower alone."
        )
    prefix, is_apple = first[1], first[2] == "patch_embed"
    state: StateDict = {}
    for key, value in checkpoint.state.items():
        if key.startswith(prefix):
            name = key.removeprefix(prefix)
            entry = _APPLE_TOWER.import_entry(f"tower.{name}", value) if is_apple else None
            state.update([entry or (f"{_IMAGE}.{name}", value)])
    return _with_head_bias(state)


def refuse_mlx(checkpoint: Checkpoint) -> None:
    """Raise ValueError, saying what to load instead, for what was exported to Apple's MLX."""
    keys = checkpoint.state
    if any(key.endswith(".scales") for key in keys):
        kind = "quantized for MLX (its keys end in '.scales' and '.biases')"
    elif any(key.startswith(_MLX_SIGNS) for key in keys):
        kind = "exported to MLX, whose file does not hold the image tower in PyTorch's layout"
    else:
        return
    raise ValueError(
        f"'{checkpoint.source}' is {kind}, which zoo does not read; load the original weights, "
        "such as apple/FastVLM-0.5B, and ask for dtype=torch.int8 to have them quantized."
    )


def _with_head_bias(state: StateDict) -> StateDict:
    # timm's projection has a bias, Apple's has none.
    weight = state.get(f"{_IMAGE}.head.fc.weight")
    if weight is not None:
        state.setdefault(f"{_IMAGE}.head.fc.bias", weight.new_zeros(weight.shape[0]))
    return state


def _first_keys(checkpoint: Checkpoint) -> str:
    return ", ".join(sorted(checkpoint.state)[:3]) or "none"
