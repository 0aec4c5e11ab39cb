"""Labelled pictures, learned through the names of their classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed import ProcessGroup
from torch.nn import functional as F

from zoo.models.class_names import (
    CLASS_NAMES_FILE,
    average_templates,
    class_prompts,
    read_class_names,
)
from zoo.models.image_text_model import ImageTextModel
from zoo.reinforced_data.shards.find import find_shards, is_url
from zoo.training.parallel.collectives import group_size, total
from zoo.training.recipes.recipe import Recipe
from zoo.training.tasks.task import Batch, Features, ImageTextTask


class ClassificationTask(ImageTextTask):
    """Cross-entropy of pictures against the zero-shot classifier of their classes' names.

    Contrastive training on captions made of class names takes the other pictures of a class for
    wrong answers; this does not. The classifier is the head of WiSE-FT (arXiv 2109.01903, section
    4), but not a layer of its own: it is what the text tower says of the names, at every step
    anew, or once where that tower is frozen. So the model still takes any words.
    """

    head: Tensor | None
    prompts: Tensor

    def __init__(
        self,
        model: ImageTextModel,
        *,
        class_names: Sequence[str],
        templates: Sequence[str],
        group: ProcessGroup | None = None,
    ) -> None:
        """Take the classes in label order. Raises ValueError for an empty name or template."""
        super().__init__(model, ("image", "label"), group=group)
        self.classes = len(class_names)
        prompts = model.tokenize(class_prompts(class_names, templates))
        device = model.logit_scale.device
        self.register_buffer("prompts", prompts.to(device), persistent=False)
        frozen = not any(p.requires_grad for p in model.text_encoder.parameters())
        self.register_buffer("head", self._frozen_head() if frozen else None, persistent=False)

    def check_batch(self, batch: Batch) -> None:
        """Raise ValueError when a key is missing or a label has no class name."""
        super().check_batch(batch)
        lowest, highest = (int(label) for label in batch["label"].aminmax())
        if lowest < 0 or highest >= self.classes:
            raise ValueError(
                f"A picture has the label {lowest if lowest < 0 else highest}, but there are "
                f"{self.classes} class names, counted from 0; give a name for each label."
            )

    def forward(self, batch: Batch) -> Features:
        pixels = self.model.preprocessing.normalize(batch["image"])
        image = self.model.encode_image(pixels, normalize=True)
        head = self._head() if self.head is None else self.head
        # In half precision a logit of 100 would be off by up to 0.25.
        with torch.autocast(image.device.type, enabled=False):
            logits = self.model.logit_scale.exp() * image.float() @ head.float().T
        return {"logits": logits}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        loss = F.cross_entropy(features["logits"], batch["label"])
        return {"classification_loss": total(loss, self.group) / group_size(self.group)}

    def _head(self) -> Tensor:
        """The zero-shot classifier, float (classes, D), rows of length 1."""
        return average_templates(self.model.encode_text(self.prompts), self.classes)

    @torch.no_grad()
    def _frozen_head(self) -> Tensor:
        training = self.model.text_encoder.training
        self.model.text_encoder.eval()
        head = self._head()
        self.model.text_encoder.train(training)
        return head


def class_names_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the names of a recipe's classes: from its file, or from the one beside its shards.

    Raises FileNotFoundError when there is none, ValueError when the shards are at a URL or a name
    is empty.
    """
    if recipe.classes is not None:
        return read_class_names(recipe.classes)
    if is_url(recipe.data):
        raise ValueError(
            f"The shards are at '{recipe.data}'; name the file with their class names (--classes)."
        )
    return read_class_names(find_shards(recipe.data)[0].parent / CLASS_NAMES_FILE)
