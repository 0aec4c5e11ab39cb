"""Tiny image-to-text models of transformers with random weights, saved in folders.

Used by .venv/bin/pytest tests/reinforced_data/engine
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "<image>"]
WORDS = [*SPECIAL, "a", "big", "small", "red", "blue", "cat", "dog", "car", "sea", "USER", "BOT"]
SIZE = 32
TEXT: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "initializer_range": 0.3,  # large enough for words to depend on the picture
}
VISION: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": SIZE,
    "patch_size": 8,
    "initializer_range": 0.3,
}
CHAT = (
    "{% for m in messages %}USER {% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<image> {% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}{% endfor %} BOT"
)


def tokenizer(*, like_bert: bool = False, image_token: bool = False) -> Any:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()  # type: ignore[assignment]
    words.add_special_tokens(SPECIAL)
    if like_bert:
        words.post_processor = TemplateProcessing(  # type: ignore[assignment]
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=words,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        bos_token="[CLS]",
        eos_token="[SEP]",
        extra_special_tokens={"image_token": "<image>"} if image_token else {},
    )


def _blip() -> tuple[Any, list[Any]]:
    text = TEXT | {"sep_token_id": 3, "encoder_hidden_size": 32, "projection_dim": 32}
    config = hf.BlipConfig(text_config=text, vision_config=VISION, projection_dim=32)
    images = hf.BlipImageProcessor(size={"height": SIZE, "width": SIZE})
    return hf.BlipForConditionalGeneration(config), [
        hf.BlipProcessor(images, tokenizer(like_bert=True))
    ]


def _git() -> tuple[Any, list[Any]]:
    config = hf.GitConfig(vision_config=VISION, **TEXT)
    images = hf.CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    return hf.GitForCausalLM(config), [hf.GitProcessor(images, tokenizer(like_bert=True))]


def _vit_gpt2() -> tuple[Any, list[Any]]:
    decoder = hf.GPT2Config(
        vocab_size=len(WORDS), n_embd=32, n_layer=1, n_head=2, n_positions=128,
        add_cross_attention=True, bos_token_id=2, eos_token_id=3,
        initializer_range=0.3,
    )  # fmt: skip
    config = hf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        hf.ViTConfig(**VISION), decoder
    )
    config.decoder_start_token_id, config.pad_token_id = 2, 0
    images = hf.ViTImageProcessor(size={"height": SIZE, "width": SIZE})
    return hf.VisionEncoderDecoderModel(config), [images, tokenizer()]


def _blip_2() -> tuple[Any, list[Any]]:
    text = hf.OPTConfig(
        vocab_size=len(WORDS), hidden_size=32, word_embed_proj_dim=32, num_hidden_layers=1,
        num_attention_heads=2, ffn_dim=32, max_position_embeddings=128, init_std=0.3,
        pad_token_id=0, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    between = VISION | {"encoder_hidden_size": 32, "vocab_size": 16}
    config = hf.Blip2Config(
        vision_config=VISION,
        qformer_config=between,
        text_config=text,
        num_query_tokens=4,
        image_token_index=WORDS.index("<image>"),
    )
    images = hf.BlipImageProcessor(size={"height": SIZE, "width": SIZE})
    processor = hf.Blip2Processor(images, tokenizer(), num_query_tokens=4)
    return hf.Blip2ForConditionalGeneration(config), [processor]


def _llava() -> tuple[Any, list[Any]]:
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(**VISION, projection_dim=32),
        text_config=hf.LlamaConfig(**TEXT, num_key_value_heads=2),
        image_token_index=WORDS.index("<image>"),
        vision_feature_layer=-1,
    )
    images = hf.CLIPImageProcessor(
        size={"shortest_edge": SIZE}, crop_size={"height": SIZE, "width": SIZE}
    )
    processor = hf.LlavaProcessor(
        images,
        tokenizer(image_token=True),
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=CHAT,
    )
    return hf.LlavaForConditionalGeneration(config), [processor]


KINDS: dict[str, Callable[[], tuple[Any, list[Any]]]] = {
    "blip": _blip,
    "blip-2": _blip_2,
    "git": _git,
    "vit-gpt2": _vit_gpt2,
    "llava": _llava,
}


def save_captioner(folder: Path, kind: str, seed: int = 0) -> str:
    """Save a random model of `kind` with its processors and return its specification."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model, processors = KINDS[kind]()
    for part in (model, *processors):
        part.save_pretrained(folder)
    return f"transformers:{folder}"
