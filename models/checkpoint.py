"""Checkpoint files in and out: safetensors, PyTorch files without code, open_clip folders."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.card import ModelCard, Naming
from zoo.models.preprocess import Interpolation, Preprocessing
from zoo.models.trainable import TrainableModel

StateDict = dict[str, Tensor]

OPEN_CLIP_CONFIG = "open_clip_config.json"
_FOLDER_WEIGHTS = (
    "weights.safetensors",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""File names inside a folder, in the order in which they are looked for."""

# What torch.load and safetensors raise on damaged or foreign files.
_READING_ERRORS = (
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    TypeError,
    struct.error,
)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The tensors of one file and what the file says of itself."""

    source: str
    """The path, for messages."""
    state: StateDict
    written_for: str | None = None
    """Name of the model, in files of ours."""
    preprocessing: Preprocessing | None = None
    """Preprocessing stated beside the weights."""
    open_clip_config: Mapping[str, Any] | None = None
    """`model_cfg` of an open_clip folder."""
    folder: Path | None = None
    """Where the file lies: a configuration or a tokenizer may lie beside it."""
    metadata: Mapping[str, str] = field(default_factory=dict)
    """The header of a file of ours."""


def read_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a weights file (.safetensors, .pt, .pth, .bin) or a folder with one inside.

    In place of one file there may be several, listed by a `.index.json` as transformers writes it.

    Raises FileNotFoundError when there is nothing at `path` or a listed file is missing, and
    ValueError for a file that is empty, truncated, not a checkpoint, or a pickle that holds code.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"No weights at '{path}'; check the path.")
    if path.is_dir():
        return _read_folder(path)
    if path.stat().st_size == 0:
        raise ValueError(f"'{path}' holds zero bytes; copy or download the weights again.")
    if path.name.endswith(".index.json"):
        return _read_listed(path)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return Checkpoint(source=str(path), state=_read_torch(path), folder=path.parent)


def save_weights(model: TrainableModel, path: str | os.PathLike[str]) -> None:
    """Write `model` as safetensors in our naming, whole or not at all.

    The header names the model and its preprocessing, for FastVLM its language model and tiles, for
    SAM-CLIP its text tower and sizes; `load_model(name, weights=path)` reads it. FastVLM's
    tokenizer is a file of its own: see `zoo.models.fastvlm.language_model.write_tokenizer`.
    """
    metadata = {
        "format": "zoo",
        "model": model.card.name,
        "preprocessing": json.dumps(asdict(model.preprocessing)),
        **model.file_metadata(),
    }
    write_state(without_ties(model.state_dict()), Path(path), metadata)


def write_state(state: StateDict, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors under a temporary name and rename: .safetensors, or a PyTorch .pt file.

    Raises ValueError for another suffix and OSError when the file cannot be written whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    if path.suffix not in (".safetensors", ".pt"):
        raise ValueError(f"'{path}' must end in .safetensors or .pt to say which file to write.")
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in state.items()}
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        if path.suffix == ".safetensors":
            save_file(state, temporary, metadata=metadata)
        else:
            torch.save(state, temporary)
        os.replace(temporary, path)
    except (SafetensorError, RuntimeError) as error:
        raise OSError(errno.EIO, f"writing failed: {error}", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


def without_ties(state: StateDict) -> StateDict:
    """Return `state` without the tensors that are another one under a second name, as the output
    embedding of a language model may be its input embedding."""
    first = {(value.data_ptr(), value.shape): key for key, value in reversed(state.items())}
    return {
        key: value
        for key, value in state.items()
        if value.numel() == 0 or first[value.data_ptr(), value.shape] == key
    }


def weights_sha256(module: nn.Module) -> str:
    """SHA-256 of a module's state: names, dtypes, shapes and bytes, in the order of the names.

    The same weights give the same hash wherever they were loaded from; a reparameterized model
    has another hash than the one it was made of.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        digest.update(values.view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_written_for(checkpoint: Checkpoint, card: ModelCard) -> None:
    """Raise ValueError where a file of ours says that it is another model's than `card`'s."""
    if checkpoint.written_for not in (None, card.name):
        raise ValueError(
            f"'{checkpoint.source}' holds weights of {checkpoint.written_for}, not of {card.name}; "
            f"load it as '{checkpoint.written_for}'."
        )


def detect_naming(checkpoint: Checkpoint) -> Naming:
    """Return whose keys these are.

    Raises ValueError when they belong to no known image-text model.
    """
    keys = checkpoint.state.keys()
    if any(key.startswith("image_encoder.model.") for key in keys):
        return "apple"
    if any(key.startswith("visual.") for key in keys):
        return "open_clip"
    if any(key.startswith("image_encoder.") for key in keys):
        return "zoo"
    first = ", ".join(sorted(keys)[:3]) or "none"
    raise ValueError(
        f"The keys of '{checkpoint.source}' ({first}, …) are not those of an image-text model in "
        "Apple's, open_clip's or zoo's naming; give a whole model's weights."
    )


def _read_listed(index: Path) -> Checkpoint:
    """Read the files of an index: `weight_map` says in which of them each tensor lies."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ValueError(f"'{index}' has no 'weight_map'; restore it, or name the weights file.")
    state: StateDict = {}
    for name in sorted(set(names.values())):
        if Path(name).name != name:
            raise ValueError(f"'{index}' lists '{name}', which is not a file beside it.")
        state |= read_checkpoint(index.parent / name).state
    return Checkpoint(source=str(index), state=state, folder=index.parent)


def _read_folder(folder: Path) -> Checkpoint:
    checkpoint = read_checkpoint(_weights_inside(folder))
    config_path = folder / OPEN_CLIP_CONFIG
    if not config_path.exists():
        return checkpoint
    config = read_json(config_path)
    return replace(
        checkpoint,
        preprocessing=_preprocessing_from_open_clip(config, config_path),
        open_clip_config=config.get("model_cfg"),
    )


def _weights_inside(folder: Path) -> Path:
    for name in _FOLDER_WEIGHTS:
        if (folder / name).exists():
            return folder / name
    found = sorted(
        path for path in folder.iterdir() if path.suffix in (".safetensors", ".pt", ".pth", ".bin")
    )
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise ValueError(
        f"The folder '{folder}' must hold one weights file, but has {len(found)} ({names}); "
        "name the file itself."
    )


def _read_safetensors(path: Path) -> Checkpoint:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, *_READING_ERRORS) as error:
        raise _unreadable(path, error) from error
    metadata = metadata if metadata.get("format") == "zoo" else {}
    preprocessing = metadata.get("preprocessing")
    return Checkpoint(
        source=str(path),
        state=state,
        written_for=metadata.get("model"),
        preprocessing=preprocessing and _preprocessing_from_json(json.loads(preprocessing)),
        folder=path.parent,
        metadata=metadata,
    )


def _read_torch(path: Path) -> StateDict:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"'{path}' is not a plain PyTorch weights file: it holds Python objects that could run "
            "code, or something else altogether; save its state_dict alone, or use safetensors."
        ) from error
    except _READING_ERRORS as error:
        raise _unreadable(path, error) from error
    return _unwrap(content, path)


def _unwrap(content: Any, path: Path) -> StateDict:
    """A training checkpoint holds the weights under `state_dict`, or under `model` as SAM 2's; DDP
    prefixes `module.`."""
    for name in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(name), dict):
            content = content[name]
    if not isinstance(content, dict) or not content:
        raise ValueError(f"'{path}' holds a {type(content).__name__}, not a dictionary of tensors.")
    for key, value in content.items():
        if not isinstance(value, Tensor):
            raise ValueError(
                f"Entry '{key}' of '{path}' is {type(value).__name__}, not a tensor; give a "
                "state_dict."
            )
    return {key.removeprefix("module."): value for key, value in content.items()}


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = str(error).strip().split("\n")[0][:120]
    return ValueError(
        f"'{path}' cannot be read as weights ({reason}); the file is truncated, damaged or not a "
        "checkpoint: copy or download it again."
    )


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in `path`. Raises ValueError for anything else."""
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"'{path}' is not JSON ({error}); restore or remove it.") from error
    if not isinstance(config, dict):
        raise ValueError(f"'{path}' is not a JSON object; restore or remove it.")
    return config


def _preprocessing_from_open_clip(config: dict[str, Any], path: Path) -> Preprocessing | None:
    settings = config.get("preprocess_cfg")
    if settings is None:
        return None
    if settings.get("resize_mode", "shortest") != "shortest":
        raise ValueError(
            f"'{path}' asks for resize_mode '{settings['resize_mode']}', but zoo resizes the "
            'shortest side; set "shortest" if the weights were trained so.'
        )
    size = settings.get("size", config.get("model_cfg", {}).get("vision_cfg", {}).get("image_size"))
    size = size[0] if isinstance(size, list) else size
    if size is None or "mean" not in settings or "std" not in settings:
        return None
    interpolation: Interpolation = settings.get("interpolation", "bicubic")
    return Preprocessing(
        image_size=size,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=interpolation,
    )


def _preprocessing_from_json(settings: dict[str, Any]) -> Preprocessing:
    pairs: dict[str, Any] = {"mean": tuple(settings["mean"]), "std": tuple(settings["std"])}
    return Preprocessing(**{**settings, **pairs})
