"""Causal language models and their tokenizers, by transformers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from zoo.models.card import LanguageModelConfig
from zoo.models.fastvlm.prompt import END, PAD

_TINY_TOKENIZER = Path(__file__).parent / "tiny_tokenizer.json"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")


def build_language_model(config: LanguageModelConfig, dtype: torch.dtype | None = None) -> Any:
    """Return transformers' causal language model, randomly initialised, float32 unless asked.

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
    return transformers.AutoModelForCausalLM.from_config(settings, dtype=dtype or torch.float32)


def build_language_model_for(
    config: LanguageModelConfig, state: Mapping[str, Tensor]
) -> tuple[Any, LanguageModelConfig]:
    """Return the language model without values that fits `state`, and its own configuration.

    The rows of the embedding decide the vocabulary, and a head of its own that the embeddings are
    not tied: configurations of published checkpoints say both wrongly at times. Parameters are on
    the meta device; buffers, which no checkpoint holds, have their values.
    """
    with _parameters_on_meta():
        model = build_language_model(config)
    embedding, head = embedding_names(model)
    numbers = dict(config.numbers)
    if embedding in state:
        numbers["vocab_size"] = state[embedding].shape[0]
    if head in state:
        numbers["tie_word_embeddings"] = False
    if numbers == dict(config.numbers):
        return model, config
    config = replace(config, numbers=numbers)
    with _parameters_on_meta():
        return build_language_model(config), config


def embedding_names(language_model: Any) -> tuple[str, str]:
    """Return the names of the input and of the output embedding's weight."""
    names = {module: name for name, module in language_model.named_modules()}
    ends = language_model.get_input_embeddings(), language_model.get_output_embeddings()
    return f"{names[ends[0]]}.weight", f"{names[ends[1]]}.weight"


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Inside, modules are built with buffers as always and parameters without memory."""

    def on_meta(module: nn.Module, name: str, parameter: Any) -> nn.Parameter | None:
        if parameter is None or parameter.is_meta:
            return None  # as it is
        return nn.Parameter(parameter.to("meta"), requires_grad=parameter.requires_grad)

    # torch's annotation leaves out that a hook may return another parameter.
    handle = register_module_parameter_registration_hook(cast(Any, on_meta))
    try:
        yield
    finally:
        handle.remove()


def tiny_tokenizer() -> Any:
    """Return the byte-pair tokenizer of fastvlm-tiny: 512 entries, learned from the tiny world's
    sentences; any other text falls back on bytes."""
    return import_transformers().PreTrainedTokenizerFast(
        tokenizer_file=str(_TINY_TOKENIZER), eos_token=END, pad_token=PAD
    )


def read_tokenizer(folder: Path, language_model: Any) -> Any | None:
    """Return the tokenizer whose files lie in `folder`, None where there are none.

    Raises ValueError for files that transformers cannot read, or a tokenizer with more entries than
    the language model has embeddings.
    """
    if not any((folder / name).exists() for name in _TOKENIZER_FILES):
        return None
    tokenizer = _read_tokenizer(folder, language_model.config)
    rows = language_model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ValueError(
            f"The tokenizer in '{folder}' has {len(tokenizer)} entries, but the language model "
            f"only {rows}; they belong to different models: restore the one that came with it."
        )
    return tokenizer


def write_tokenizer(tokenizer: Any, folder: Path) -> None:
    """Write a tokenizer's files into `folder`, so that transformers 4 and 5 both read them."""
    tokenizer.save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("tokenizer_class") == "TokenizersBackend":
        settings["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(settings.get("extra_special_tokens"), list):
        settings["additional_special_tokens"] = settings.pop("extra_special_tokens")
    for name in ("local_files_only", "is_local", "trust_remote_code"):
        settings.pop(name, None)
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_tokenizer(folder: Path, config: Any) -> Any:
    """A `tokenizer.json` is the whole tokenizer. Older files need the class that goes with the
    language model; its configuration is given, so that the folder's, of a type that transformers
    may not know, is not looked at."""
    transformers = import_transformers()
    try:
        if (folder / "tokenizer.json").exists():
            fast = transformers.PreTrainedTokenizerFast
            return fast.from_pretrained(folder, local_files_only=True)
        return transformers.AutoTokenizer.from_pretrained(
            folder, config=config, local_files_only=True, trust_remote_code=False
        )
    # What tokenizers raises on damaged files is a bare Exception: nothing narrower catches it.
    except Exception as error:
        reason = str(error).strip().split("\n")[0][:120]
        raise ValueError(
            f"transformers {transformers.__version__} cannot read the tokenizer in '{folder}' "
            f"({reason}); restore its files."
        ) from error


def import_transformers() -> Any:
    """Return the transformers library. Raises ValueError where it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError("FastVLM needs transformers; install zoo[vlm].") from error
    return transformers
