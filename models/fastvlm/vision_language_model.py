"""Image tower → projector → causal language model."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.card import VisionLanguageCard
from zoo.models.fastvlm.prompt import IMAGE_TOKEN_INDEX
from zoo.models.fastvlm.views import Views
from zoo.models.fastvlm.vision_tower import feature_tokens
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.reparameterize import fold_norms_and_scales, merge_branches


class VisionLanguageModel(nn.Module):
    """A language model that reads pictures as tokens.

    Built from its parts: timm's image tower without a head, the projector, and any causal language
    model of transformers.
    """

    def __init__(
        self,
        card: VisionLanguageCard,
        image_encoder: nn.Module,
        projector: nn.Module,
        language_model: nn.Module,
        views: Views,
        tokenizer: Any | None,
    ) -> None:
        """`views`: what becomes of a picture. `tokenizer`: transformers', which knows the tokens
        of ChatML; None where there is none, and only token ids can be given."""
        super().__init__()
        self.card = card
        self.image_encoder = image_encoder
        self.projector = projector
        self.language_model: Any = language_model
        self._views = views
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> Any:
        """transformers' tokenizer. Raises ValueError where the weights came without one."""
        if self._tokenizer is None:
            raise ValueError(
                f"This {self.card.name} has no tokenizer; load it from a folder that holds one "
                "beside the weights."
            )
        return self._tokenizer

    @property
    def views(self) -> Views:
        """How a picture becomes the tower's input."""
        return self._views

    def set_views(self, views: Views) -> None:
        """Use another image size, aspect or tiling.

        Raises ValueError for a size that is no multiple of the tower's stride.
        """
        size, stride = views.preprocessing.image_size, self.card.stride
        if size < stride or size % stride:
            raise ValueError(
                f"image_size={size} does not fit {self.card.name}; give a multiple of {stride} "
                "pixels, such as 512 or 1024."
            )
        self._views = views

    @property
    def preprocessing(self) -> Preprocessing:
        """How a view becomes a square; part of `views`."""
        return self.views.preprocessing

    @property
    def tokens_per_view(self) -> int:
        """How many visual tokens a view of the present size becomes."""
        return (self.preprocessing.image_size // self.card.stride) ** 2

    def preprocess(self, source: ImageSource) -> Tensor:
        """Return a picture (path, bytes, PIL image or tensor) as float32 (V, 3, size, size)."""
        return self.views(source)

    def image_features(self, images: Tensor) -> Tensor:
        """Return the tower's tokens (V, tokens, feature_dim) of views (V, 3, H, W)."""
        return feature_tokens(self.image_encoder, images)

    def visual_tokens(self, images: Tensor) -> Tensor:
        """Return what the language model reads: (V, tokens, hidden) of views (V, 3, H, W)."""
        return self.projector(self.image_features(images))

    def embed(self, input_ids: Tensor, visual_tokens: Tensor | None = None) -> Tensor:
        """Return embeddings (B, T, hidden) of ids int64 (B, T).

        The visual tokens (V, tokens, hidden) take, view after view, the places where the id is
        IMAGE_TOKEN_INDEX. Raises ValueError where there are more or fewer places than tokens.
        """
        is_visual = input_ids == IMAGE_TOKEN_INDEX
        given = 0 if visual_tokens is None else visual_tokens.shape[0] * visual_tokens.shape[1]
        if int(is_visual.sum()) != given:
            raise ValueError(
                f"The token ids have {int(is_visual.sum())} places for visual tokens, but the "
                f"pictures give {given}; write IMAGE_TOKEN_INDEX once for each."
            )
        embeddings = self.language_model.get_input_embeddings()(input_ids.clamp(min=0))
        if visual_tokens is None:
            return embeddings
        visual_tokens = visual_tokens.to(embeddings.dtype)
        return embeddings.masked_scatter(is_visual[..., None], visual_tokens)

    def forward(
        self,
        input_ids: Tensor,
        images: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Return logits (B, T, vocabulary) of ids int64 (B, T) and views (V, 3, H, W).

        `attention_mask` (B, T) is 0 at padding, on either side. Raises what `embed` raises.
        """
        tokens = None if images is None else self.visual_tokens(images)
        output = self.language_model(
            inputs_embeds=self.embed(input_ids, tokens), attention_mask=attention_mask
        )
        return output.logits

    @torch.no_grad()
    def reparameterize(self) -> VisionLanguageModel:
        """Return a copy for inference, in eval mode, with the tower folded."""
        fused = copy.deepcopy(self)
        merge_branches(fused.image_encoder)
        fold_norms_and_scales(fused.image_encoder)
        return fused.eval()
