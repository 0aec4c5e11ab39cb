"""Teachers: frozen image-text models that look at a picture with their own preprocessing."""

from __future__ import annotations

import difflib
import hashlib
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.load import load_model

_GRAMMAR = "[NAME=]zoo:MODEL[@WEIGHTS] or [NAME=]open_clip:MODEL@TAG_OR_FILE"
_SPEC = re.compile(
    r"(?:(?P<name>[\w.-]+)=)?(?P<source>zoo|open_clip):(?P<model>[^@]+)(?:@(?P<weights>.+))?"
)

# What open_clip 3.3.0 raises for weights that it cannot fetch, read or fit.
_OPEN_CLIP_ERRORS = (OSError, RuntimeError, AssertionError, KeyError, pickle.UnpicklingError)


class Teacher(nn.Module):
    """A frozen image-text model: stays in eval mode whatever is asked, its parameters need no
    gradient (those of the very model given), and its embeddings have length 1.
    """

    def __init__(
        self,
        name: str,
        model: Any,
        *,
        preprocess: Callable[[Image.Image], Tensor],
        tokenize: Callable[[list[str]], Tensor],
        image_size: int,
        pretrained: str,
    ) -> None:
        """Take a model with `encode_image`, `encode_text` and `logit_scale` as open_clip's have.

        `pretrained` says which weights these are; it goes into the sidecar. `image_size`: pixels.
        """
        super().__init__()
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(
                f"The teacher name {name!r} is not usable; give letters, digits, '.', '_' and '-'."
            )
        self.name = name
        self.model = model.eval().requires_grad_(False)
        self.image_size = image_size
        self.pretrained = pretrained
        self.logit_scale = float(model.logit_scale.exp())
        self._preprocess = preprocess
        self._tokenize = tokenize
        self.embed_dim = self.encode_texts([""]).shape[1]

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode."""
        return super().train(False)

    @torch.inference_mode()
    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return float32 (N, embed_dim), rows of length 1, of N >= 1 RGB pictures of any size."""
        pixels = torch.stack([self._preprocess(image) for image in images])
        return self._normalise(self.model.encode_image(pixels.to(self._parameter)))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (N, embed_dim), rows of length 1, of N >= 1 texts."""
        tokens = self._tokenize(list(texts)).to(self._parameter.device)
        return self._normalise(self.model.encode_text(tokens))

    @property
    def _parameter(self) -> Tensor:
        return next(self.model.parameters())

    def _normalise(self, features: Tensor) -> np.ndarray:
        return F.normalize(features.float(), dim=-1).cpu().numpy()


class TeacherSpec(NamedTuple):
    """A parsed teacher specification."""

    name: str
    source: str
    model: str
    weights: str | None


def parse_teacher_spec(spec: str) -> TeacherSpec:
    """Parse `[NAME=]zoo:MODEL[@WEIGHTS]` or `[NAME=]open_clip:MODEL@TAG_OR_FILE`.

    Without NAME the teacher is called like its model. Raises ValueError that shows the grammar.
    """
    match = _SPEC.fullmatch(spec)
    if match is None:
        raise ValueError(
            f"The teacher {spec!r} is not understood; write {_GRAMMAR}, "
            "for example zoo:mobileclip2-s0 or vit-l=open_clip:ViT-L-14@openai."
        )
    model = match["model"]
    default = re.sub(r"[^\w.-]", "-", model.rpartition("/")[2])
    return TeacherSpec(match["name"] or default, match["source"], model, match["weights"])


def load_teacher(spec: str, *, device: str | torch.device = "cpu") -> Teacher:
    """Load the teacher that `spec` names (see `parse_teacher_spec`).

    Raises ValueError for a bad specification or model name, FileNotFoundError for weights that
    are not here and cannot be fetched.
    """
    parsed = parse_teacher_spec(spec)
    load = _load_from_zoo if parsed.source == "zoo" else _load_from_open_clip
    return load(parsed).to(device)


def zoo_teacher(name: str, model: Any, *, pretrained: str) -> Teacher:
    """Return the zoo model `model` as a teacher; the model itself is frozen."""
    return Teacher(
        name,
        model,
        preprocess=model.preprocess,
        tokenize=model.tokenize,
        image_size=model.preprocessing.image_size,
        pretrained=pretrained,
    )


def _load_from_zoo(spec: TeacherSpec) -> Teacher:
    if spec.weights is None:
        return zoo_teacher(spec.name, load_model(spec.model), pretrained="published")
    model = load_model(spec.model, weights=spec.weights)
    return zoo_teacher(spec.name, model, pretrained=_fingerprint(Path(spec.weights)))


def _load_from_open_clip(spec: TeacherSpec) -> Teacher:
    import open_clip

    _check_open_clip_spec(spec, open_clip.list_models())
    file = Path(spec.weights) if spec.weights and Path(spec.weights).exists() else None
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            spec.model, pretrained=spec.weights
        )
    except _OPEN_CLIP_ERRORS as error:
        raise _open_clip_failed(spec, file, str(error).partition("\n")[0]) from error
    visual: Any = model.visual
    size = visual.image_size
    return Teacher(
        spec.name,
        model,
        preprocess=preprocess,  # type: ignore[arg-type]
        tokenize=open_clip.get_tokenizer(spec.model),
        image_size=size if isinstance(size, int) else size[0],
        pretrained=_fingerprint(file) if file else spec.weights or "hub",
    )


def _open_clip_failed(spec: TeacherSpec, file: Path | None, reason: str) -> Exception:
    if file is not None:
        return ValueError(f"'{file}' does not fit open_clip's {spec.model}: {reason[:200]}")
    return FileNotFoundError(
        f"open_clip cannot get {spec.model} with the weights {spec.weights or 'of its hub'} "
        f"({reason[:200]}); go online once, or name a file."
    )


def _check_open_clip_spec(spec: TeacherSpec, known: list[str]) -> None:
    if spec.model.startswith("hf-hub:"):
        return
    if spec.model not in known:
        close = difflib.get_close_matches(spec.model, known, n=3)
        hint = f"did you mean {', '.join(close)}?" if close else "see open_clip.list_models()."
        raise ValueError(f"open_clip has no model {spec.model!r}; {hint}")
    if spec.weights is None:
        raise ValueError(
            f"open_clip:{spec.model} names no weights and would be random; write {_GRAMMAR}."
        )
    if spec.model.startswith("MobileCLIP") and Path(spec.weights).exists():
        # open_clip 3.3.0 then takes OpenAI's mean and deviation and bicubic for every variant.
        raise ValueError(
            f"open_clip prepares pictures wrongly for {spec.model} from a file; "
            f"write zoo:{spec.model}@{spec.weights}."
        )


def _fingerprint(path: Path) -> str:
    """Name and content of a weights file, or of a folder of them, independent of its place."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return f"{path.name} sha256:{digest.hexdigest()[:16]}"
