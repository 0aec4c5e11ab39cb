"""The keys of Apple's checkpoints, listed from the original and not made by our own tables.

.venv/bin/pytest tests/models/test_apple_keys.py
"""

from __future__ import annotations

import torch

from zoo import load_model
from zoo.models.assemble import export_state

BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def apple_keys(name: str) -> dict[str, tuple[int, ...]]:
    torch.manual_seed(0)
    model = load_model(name, weights=None, reparameterize=False)
    return {key: tuple(value.shape) for key, value in export_state(model, "apple").items()}


def transformer_block(prefix: str, width: int) -> dict[str, tuple[int, ...]]:
    mha, ffn = f"{prefix}.pre_norm_mha", f"{prefix}.pre_norm_ffn"
    return {
        f"{mha}.0.weight": (width,),
        f"{mha}.0.bias": (width,),
        f"{mha}.1.qkv_proj.weight": (3 * width, width),
        f"{mha}.1.qkv_proj.bias": (3 * width,),
        f"{mha}.1.out_proj.weight": (width, width),
        f"{mha}.1.out_proj.bias": (width,),
        f"{ffn}.0.weight": (width,),
        f"{ffn}.0.bias": (width,),
        f"{ffn}.1.weight": (4 * width, width),
        f"{ffn}.1.bias": (4 * width,),
        f"{ffn}.4.weight": (width, 4 * width),
        f"{ffn}.4.bias": (width,),
    }


def base_text() -> dict[str, tuple[int, ...]]:
    keys: dict[str, tuple[int, ...]] = {
        "logit_scale": (),
        "text_encoder.projection_layer": (512, 512),
        "text_encoder.embedding_layer.weight": (49408, 512),
        "text_encoder.positional_embedding.pos_embed.pos_embed": (1, 1, 77, 512),
        "text_encoder.final_layer_norm.weight": (512,),
        "text_encoder.final_layer_norm.bias": (512,),
    }
    for block in range(12):
        keys |= transformer_block(f"text_encoder.transformer.{block}", 512)
    return keys


def vit_stem(prefix: str, index: int, shape: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    norm = {
        f"{prefix}.{index}.block.norm.{leaf}": () if leaf == "num_batches_tracked" else (192,)
        for leaf in BATCH_NORM
    }
    return {f"{prefix}.{index}.block.conv.weight": shape} | norm


def test_mobileclip_b_has_the_313_keys_of_the_original() -> None:
    image = "image_encoder.model"
    expected = base_text() | {
        f"{image}.cls_token": (1, 1, 768),
        f"{image}.pos_embed.pos_embed.pos_embed": (1, 1, 196, 768),
        f"{image}.patch_emb.2.block.conv.weight": (768, 192, 2, 2),
        f"{image}.patch_emb.2.block.conv.bias": (768,),
        f"{image}.post_transformer_norm.weight": (768,),
        f"{image}.post_transformer_norm.bias": (768,),
        f"{image}.classifier.proj": (768, 512),
    }
    expected |= vit_stem(f"{image}.patch_emb", 0, (192, 3, 4, 4))
    expected |= vit_stem(f"{image}.patch_emb", 1, (192, 192, 2, 2))
    for block in range(12):
        expected |= transformer_block(f"{image}.transformer.{block}", 768)
    assert len(expected) == 313
    assert apple_keys("mobileclip-b") == expected


def test_mobileclip_s1_has_the_1585_keys_of_the_original() -> None:
    keys = apple_keys("mobileclip-s1")
    # Reference §3.3: 1 + 35 + 34·RepMixer blocks + 23·downsamples + 4·SE + 2 + 20·attention + …
    assert len(keys) == 1 + 35 + 34 * 36 + 23 * 3 + 4 * 2 + 2 + 20 * 4 + 16 + 1 + 149 == 1585
    image = "image_encoder.model"
    assert (
        keys.items()
        >= {
            f"{image}.patch_embed.2.rbr_skip.running_mean": (64,),
            f"{image}.network.2.11.token_mixer.mixer.rbr_scale.conv.weight": (128, 1, 1, 1),
            f"{image}.network.4.19.convffn.fc1.weight": (768, 256, 1, 1),
            f"{image}.network.5.proj.0.lkb_origin.conv.weight": (512, 1, 7, 7),
            f"{image}.network.6.pe.bias": (512,),
            f"{image}.network.7.3.token_mixer.qkv.weight": (1536, 512),
            f"{image}.conv_exp.se.reduce.weight": (64, 1024, 1, 1),
            f"{image}.head.proj": (1024, 512),
        }.items()
    )
