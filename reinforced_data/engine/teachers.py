"""Teachers: frozen image-text models that look at a picture with their own preprocessing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.load import load_image_text_model
from zoo.reinforced_data.engine.fingerprint import fingerprint
from zoo.reinforced_data.engine.frozen import frozen
from zoo.reinforced_data.engine.open_clip_models import load_open_clip
from zoo.reinforced_data.engine.preparation import Preparation

_GRAMMAR = "[NAME=]zoo:MODEL[@WEIGHTS] or [NAME=]open_clip:MODEL@TAG_OR_FILE"
_SPEC = re.compile(
    r"(?:(?P<name>[\w.-]+)=)?(?P<source>zoo|open_clip):(?P<model>[^@]+)(?:@(?P<weights>.+))?"
)


class Teacher(nn.Module):
    """A frozen image-text model (the very one given), whose embeddings have length 1."""

    def __init__(
        self,
        name: str,
        model: Any,
        *,
        preparation: Preparation,
        normalize: Callable[[Tensor], Tensor],
        tokenize: Callable[[list[str]], Tensor],
        pretrained: str,
    ) -> None:
        """Take a model with `encode_image`, `encode_text` and `logit_scale` as open_clip's have.

        `preparation` resizes and crops a picture, `normalize` scales uint8 (N, 3, S, S) to what
        the model takes, on any device. `pretrained` says which weights these are; it goes into
        the sidecar. Raises ValueError for a name that cannot be one.
        """
        super().__init__()
        if not re.fullmatch(r"[\w.-]+", name):
            raise ValueError(
                f"The teacher name {name!r} is not usable; give letters, digits, '.', '_' and '-'."
            )
        self.name = name
        self.model = model
        frozen(self)
        self.preparation = preparation
        self.pretrained = pretrained
        self.logit_scale = float(model.logit_scale.exp())
        self._normalize = normalize
        self._tokenize = tokenize
        self.embed_dim = self.encode_texts([""]).shape[1]

    @property
    def image_size(self) -> int:
        """Side of the square that the model looks at, in pixels."""
        return self.preparation.image_size

    def prepare(self, image: Image.Image) -> Tensor:
        """Return an RGB picture of any size as the uint8 (3, S, S) that `encode_pixels` takes."""
        return self.preparation(image)

    def encode_images(self, images: Sequence[Image.Image]) -> np.ndarray:
        """Return float32 (N, embed_dim), rows of length 1, of N >= 1 RGB pictures of any size."""
        return self.encode_pixels(torch.stack([self.prepare(image) for image in images]))

    @torch.inference_mode()
    def encode_pixels(self, pixels: Tensor) -> np.ndarray:
        """Return float32 (N, embed_dim), rows of length 1, of N >= 1 prepared pictures.

        `pixels` is uint8 (N, 3, S, S) as `prepare` makes it, on any device; a quarter of the
        floats crosses to the model's device, where it is scaled.
        """
        pixels = pixels.to(self._parameter.device, non_blocking=True)
        inputs = self._normalize(pixels).to(self._parameter.dtype)
        return self._unit_length(self.model.encode_image(inputs))

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return float32 (N, embed_dim), rows of length 1, of N >= 1 texts."""
        tokens = self._tokenize(list(texts)).to(self._parameter.device)
        return self._unit_length(self.model.encode_text(tokens))

    @property
    def _parameter(self) -> Tensor:
        return next(self.model.parameters())

    def _unit_length(self, features: Tensor) -> np.ndarray:
        return F.normalize(features.float(), dim=-1).cpu().numpy()


class TeacherSpec(NamedTuple):
    """A parsed teacher specification."""

    name: str
    source: str
    model: str
    weights: str | None


def parse_teacher_spec(spec: str) -> TeacherSpec:
    """Parse `[NAME=]zoo:MODEL[@WEIGHTS]` or `[NAME=]open_clip:MODEL@TAG_OR_FILE`.

    MODEL of open_clip is an architecture, or `hf-hub:REPO` or `local-dir:FOLDER`, which hold
    their own weights. Without NAME the teacher is called like its model. Raises ValueError that
    shows the grammar.
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
    are not here and cannot be fetched. Teachers work in float32 unless they are cast; a device
    that does not exist raises RuntimeError, as torch does.
    """
    parsed = parse_teacher_spec(spec)
    load = _load_from_zoo if parsed.source == "zoo" else _load_from_open_clip
    return load(parsed).to(device)


def zoo_teacher(name: str, model: Any, *, pretrained: str) -> Teacher:
    """Return the zoo model `model` as a teacher; the model itself is frozen."""
    preprocessing = model.preprocessing
    return Teacher(
        name,
        model,
        preparation=Preparation(
            image_size=preprocessing.image_size, interpolation=preprocessing.interpolation
        ),
        normalize=preprocessing.normalize,
        tokenize=model.tokenize,
        pretrained=pretrained,
    )


def _load_from_zoo(spec: TeacherSpec) -> Teacher:
    if spec.weights is None:
        return zoo_teacher(spec.name, load_image_text_model(spec.model), pretrained="published")
    model = load_image_text_model(spec.model, weights=spec.weights)
    return zoo_teacher(spec.name, model, pretrained=fingerprint(Path(spec.weights)))


def _load_from_open_clip(spec: TeacherSpec) -> Teacher:
    loaded = load_open_clip(spec.model, spec.weights)
    return Teacher(
        spec.name,
        loaded.model,
        preparation=loaded.preparation,
        normalize=loaded.normalize,
        tokenize=loaded.tokenize,
        pretrained=loaded.pretrained,
    )
