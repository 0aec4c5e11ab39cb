"""Causal language models and their tokenizers, by transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from zoo.models.card import LanguageModelConfig
from zoo.models.fastvlm.prompt import END, PAD

_TINY_TOKENIZER = Path(__file__).parent / "tiny_tokenizer.json"


def build_language_model(config: LanguageModelConfig) -> Any:
    """Return transformers' causal language model, randomly initialised, float32.

    Raises ValueError without transformers, or for a model type that it does not know.
    """
    transformers = import_transformers()
    try:
        settings = transformers.AutoConfig.for_model(config.model_type, **config.numbers)
    except ValueError as error:
        raise ValueError(
            f"The installed transformers {transformers.__version__} has no model type "
            f"'{config.model_type}'; install a newer one."
        ) from error
    return transformers.AutoModelForCausalLM.from_config(settings)


def tiny_tokenizer() -> Any:
    """Return the byte-pair tokenizer of fastvlm-tiny: 512 entries, learned from the tiny world's
    sentences; any other text falls back on bytes."""
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_file=str(_TINY_TOKENIZER), eos_token=END, pad_token=PAD
    )


def import_transformers() -> Any:
    """Return the transformers library. Raises ValueError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("FastVLM needs transformers; install zoo[vlm].") from error
    return transformers
