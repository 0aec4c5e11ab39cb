"""Checkpoint keys of MobileCLIP: Apple's original naming and open_clip's, against ours.

Ours: `image_encoder.` + timm's keys, `text_encoder.` + those of `TextEncoder`, `logit_scale`.
Each table holds the train-time keys and those of the original's reparameterized model.
"""

from __future__ import annotations

from torch import Tensor

from zoo.models.key_table import KeyTable, Rule

_IMAGE = "image_encoder"
_APPLE_IMAGE = "image_encoder.model"
_TEXT = "text_encoder"
_BLOCK = f"{_TEXT}.blocks.{{i}}"


def _transpose(value: Tensor) -> Tensor:
    return value.t().contiguous()


# --- Apple's naming --------------------------------------------------------------------------


def _mobileone(ours: str, apple: str) -> list[Rule]:
    """Branches of a MobileOne block, or its merged convolution."""
    return [
        Rule(f"{ours}.conv_kxk.{{n}}.{{leaf*}}", f"{apple}.rbr_conv.{{n}}.{{leaf*}}"),
        Rule(f"{ours}.conv_scale.{{leaf*}}", f"{apple}.rbr_scale.{{leaf*}}"),
        Rule(f"{ours}.identity.{{leaf}}", f"{apple}.rbr_skip.{{leaf}}"),
        Rule(f"{ours}.reparam_conv.{{leaf}}", f"{apple}.reparam_conv.{{leaf}}"),
    ]


def _metaformer(ours: str, apple: str, mlp: str) -> list[Rule]:
    """A block of the image tower, or a RepMixer block of the text tower."""
    return [
        *_mobileone(f"{ours}.token_mixer.{{part}}", f"{apple}.token_mixer.{{part}}"),
        *(
            Rule(f"{ours}.{scale}.gamma", f"{apple}.{scale}")
            for scale in ("layer_scale", "layer_scale_1", "layer_scale_2")
        ),
        Rule(f"{ours}.token_mixer.layer_scale.gamma", f"{apple}.token_mixer.layer_scale"),
        Rule(f"{ours}.token_mixer.{{layer}}.{{leaf}}", f"{apple}.token_mixer.{{layer}}.{{leaf}}"),
        Rule(f"{ours}.{mlp}.{{leaf*}}", f"{apple}.convffn.{{leaf*}}"),
        Rule(f"{ours}.norm.{{leaf}}", f"{apple}.norm.{{leaf}}"),
    ]


def _downsample(ours: str, apple: str) -> list[Rule]:
    large, small = f"{ours}.proj.0", f"{apple}.proj.0"
    return [
        Rule(f"{large}.large_conv.{{leaf*}}", f"{small}.lkb_origin.{{leaf*}}"),
        Rule(f"{large}.small_conv.{{leaf*}}", f"{small}.small_conv.{{leaf*}}"),
        Rule(f"{large}.reparam_conv.{{leaf}}", f"{small}.lkb_reparam.{{leaf}}"),
        Rule(f"{large}.se.{{leaf*}}", f"{small}.se.{{leaf*}}"),
        *_mobileone(f"{ours}.proj.1", f"{apple}.proj.1"),
    ]


def apple_mci_rules(ours: str, apple: str) -> list[Rule]:
    """Return the rules of MCi0-2 and FastViTHD, whose keys have the prefixes `ours` and `apple`.

    Apple's `network` counts blocks, downsamplings and position encodings in a row.
    """
    network, stages = f"{apple}.network", f"{ours}.stages"
    rules = _mobileone(f"{ours}.stem.{{i}}", f"{apple}.patch_embed.{{i}}")
    for stage, place in enumerate((0, 2, 4, 7, 10)):
        rules += _metaformer(f"{stages}.{stage}.blocks.{{i}}", f"{network}.{place}.{{i}}", "mlp")
    for stage, place in ((1, 1), (2, 3), (3, 5), (4, 8)):
        rules += _downsample(f"{stages}.{stage}.downsample", f"{network}.{place}")
    return [
        # Before the blocks, whose `{i}` would match "reparam_conv" and "pe".
        *_position_encoding(f"{stages}.3.pos_emb", f"{network}.6"),
        *_position_encoding(f"{stages}.4.pos_emb", f"{network}.9"),
        *rules,
        Rule(f"{ours}.final_conv.se.fc1.{{leaf}}", f"{apple}.conv_exp.se.reduce.{{leaf}}"),
        Rule(f"{ours}.final_conv.se.fc2.{{leaf}}", f"{apple}.conv_exp.se.expand.{{leaf}}"),
        *_mobileone(f"{ours}.final_conv", f"{apple}.conv_exp"),
        Rule(f"{ours}.head.fc.weight", f"{apple}.head.proj", _transpose, _transpose),
    ]


def _position_encoding(ours: str, apple: str) -> list[Rule]:
    return [
        Rule(f"{ours}.pos_enc.{{leaf}}", f"{apple}.pe.{{leaf}}"),
        Rule(f"{ours}.reparam_conv.{{leaf}}", f"{apple}.reparam_conv.{{leaf}}"),
    ]


def _apple_vit_rules() -> list[Rule]:
    """MobileCLIP-B."""
    stem, apple_stem = f"{_IMAGE}.patch_embed.backbone.{{i}}", f"{_APPLE_IMAGE}.patch_emb.{{i}}"
    head = f"{_APPLE_IMAGE}.classifier.proj"
    return [
        Rule(f"{_IMAGE}.cls_token", f"{_APPLE_IMAGE}.cls_token"),
        Rule(
            f"{_IMAGE}.pos_embed",
            f"{_APPLE_IMAGE}.pos_embed.pos_embed.pos_embed",
            lambda value: value.squeeze(0),
            lambda value: value.unsqueeze(0),
        ),
        Rule(f"{stem}.conv.{{leaf}}", f"{apple_stem}.block.conv.{{leaf}}"),
        Rule(f"{stem}.bn.{{leaf}}", f"{apple_stem}.block.norm.{{leaf}}"),
        *_apple_transformer(f"{_IMAGE}.blocks.{{i}}", f"{_APPLE_IMAGE}.transformer.{{i}}"),
        Rule(f"{_IMAGE}.norm.{{leaf}}", f"{_APPLE_IMAGE}.post_transformer_norm.{{leaf}}"),
        Rule(f"{_IMAGE}.head.weight", head, _transpose, _transpose),
    ]


def _apple_transformer(ours: str, apple: str) -> list[Rule]:
    attention, mlp = f"{apple}.pre_norm_mha", f"{apple}.pre_norm_ffn"
    return [
        Rule(f"{ours}.norm1.{{leaf}}", f"{attention}.0.{{leaf}}"),
        Rule(f"{ours}.attn.qkv.{{leaf}}", f"{attention}.1.qkv_proj.{{leaf}}"),
        Rule(f"{ours}.attn.proj.{{leaf}}", f"{attention}.1.out_proj.{{leaf}}"),
        Rule(f"{ours}.norm2.{{leaf}}", f"{mlp}.0.{{leaf}}"),
        Rule(f"{ours}.mlp.fc1.{{leaf}}", f"{mlp}.1.{{leaf}}"),
        Rule(f"{ours}.mlp.fc2.{{leaf}}", f"{mlp}.4.{{leaf}}"),
    ]


def _apple_text_rules() -> list[Rule]:
    block = f"{_TEXT}.transformer.{{i}}"
    return [
        Rule(f"{_TEXT}.token_embedding.weight", f"{_TEXT}.embedding_layer.weight"),
        Rule(
            f"{_TEXT}.positional_embedding",
            f"{_TEXT}.positional_embedding.pos_embed.pos_embed",
            lambda value: value.flatten(0, -2),
            lambda value: value[None, None],
        ),
        *_apple_transformer(_BLOCK, block),
        *_metaformer(_BLOCK, block, "conv_mlp"),
        Rule(f"{_TEXT}.norm.{{leaf}}", f"{_TEXT}.final_layer_norm.{{leaf}}"),
        Rule(f"{_TEXT}.projection", f"{_TEXT}.projection_layer"),
    ]


# --- open_clip's naming ----------------------------------------------------------------------


def _open_clip_text_rules() -> list[Rule]:
    """The hybrid tower has no open_clip naming; its blocks keep our leaf names there."""
    block = "text.transformer.resblocks.{i}"
    return [
        Rule(f"{_TEXT}.token_embedding.weight", "text.token_embedding.weight"),
        Rule(f"{_TEXT}.positional_embedding", "text.positional_embedding"),
        Rule(f"{_BLOCK}.norm1.{{leaf}}", f"{block}.ln_1.{{leaf}}"),
        Rule(f"{_BLOCK}.attn.qkv.weight", f"{block}.attn.in_proj_weight"),
        Rule(f"{_BLOCK}.attn.qkv.bias", f"{block}.attn.in_proj_bias"),
        Rule(f"{_BLOCK}.attn.proj.{{leaf}}", f"{block}.attn.out_proj.{{leaf}}"),
        Rule(f"{_BLOCK}.norm2.{{leaf}}", f"{block}.ln_2.{{leaf}}"),
        Rule(f"{_BLOCK}.token_mixer.{{leaf*}}", f"{block}.token_mixer.{{leaf*}}"),
        Rule(f"{_BLOCK}.conv_mlp.{{leaf*}}", f"{block}.conv_mlp.{{leaf*}}"),
        Rule(f"{_BLOCK}.mlp.fc1.{{leaf}}", f"{block}.mlp.c_fc.{{leaf}}"),
        Rule(f"{_BLOCK}.mlp.fc2.{{leaf}}", f"{block}.mlp.c_proj.{{leaf}}"),
        Rule(f"{_BLOCK}.layer_scale.gamma", f"{block}.layer_scale.gamma"),
        Rule(f"{_TEXT}.norm.{{leaf}}", "text.ln_final.{leaf}"),
        Rule(f"{_TEXT}.projection", "text.text_projection"),
    ]


_LOGIT_SCALE = Rule("logit_scale", "logit_scale")

APPLE_MCI = KeyTable([_LOGIT_SCALE, *apple_mci_rules(_IMAGE, _APPLE_IMAGE), *_apple_text_rules()])
APPLE_VIT = KeyTable([_LOGIT_SCALE, *_apple_vit_rules(), *_apple_text_rules()])
OPEN_CLIP = KeyTable(
    [
        _LOGIT_SCALE,
        Rule(f"{_IMAGE}.{{leaf*}}", "visual.trunk.{leaf*}"),
        *_open_clip_text_rules(),
    ]
)
