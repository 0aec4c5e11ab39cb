"""A class for every pixel by both of SAM-CLIP's heads: words first, then SAM's prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from PIL import Image
from torch import Tensor

from zoo.eval.features import ProgressCallback, evaluation_mode
from zoo.eval.segmentation.class_names import Classes
from zoo.eval.segmentation.protocols import Protocol, make_queries
from zoo.eval.zero_shot import classifier_weights
from zoo.models.sam_clip.sam_clip_model import SamClipModel
from zoo.models.sam_clip.segmentation import Refine, segment_by

if TYPE_CHECKING:
    from zoo.models.image_text_model import ImageTextModel

Refinement = Literal["points", "regions"]
"""The paper's, or that of its descendants (`SamClipModel.segment`)."""


class RefinedClassifier:
    """Picture → classes int64 (H, W) on the CPU; every query is refined as a class of its own.

    The picture is a look of the card's `mask_image_size`. Raises ValueError for a model that has no
    mask decoder and for a protocol with windows.
    """

    def __init__(
        self,
        model: ImageTextModel,
        classes: Classes,
        protocol: Protocol,
        templates: Sequence[str],
        refinement: Refinement,
        *,
        progress: ProgressCallback | None = None,
    ) -> None:
        """`progress` is called as the texts, queries × templates, are encoded."""
        if not isinstance(model, SamClipModel):
            raise ValueError(
                f"{model.card.name} has no mask decoder to refine with; leave the refinement out."
            )
        if protocol.name != "square":
            raise ValueError("Refinement belongs to the protocol 'square', which is the paper's.")
        self._model = model
        self._refine: Refine = True if refinement == "points" else "regions"
        self._threshold = protocol.background_threshold or None
        queries = make_queries(classes, protocol)
        device = next(model.parameters()).device
        encoded = classifier_weights(model, queries.texts, templates, progress=progress)
        self._queries = encoded.to(device)
        # The last entry is for the index -1, which stands for the background.
        self._classes = torch.tensor([*queries.classes, 0])

    def __call__(self, picture: Image.Image) -> Tensor:
        """Return the classes of an RGB picture."""
        with evaluation_mode(self._model):
            found = segment_by(
                self._model,
                picture,
                self._queries,
                refine=self._refine,
                background=self._threshold,
            )
        return self._classes[found.classes.cpu()]
