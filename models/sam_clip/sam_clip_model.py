"""SAM-CLIP: an image tower read by words and by masks.

Shape suffixes: B pictures, S side in pixels, h and w the grid of tokens, N prompts, P points.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from zoo.models.card import SamClipCard
from zoo.models.class_names import DEFAULT_TEMPLATES
from zoo.models.image_text_model import ImageTextModel
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.sam_clip.clip_head import ClipHead
from zoo.models.sam_clip.mask_decoder import MaskDecoder
from zoo.models.sam_clip.prediction import Look, MaskPrediction, look, predict_masks
from zoo.models.sam_clip.prompt_encoder import ABSENT, PromptEncoder
from zoo.models.sam_clip.prompts import Numbers, Prompts
from zoo.models.sam_clip.segmentation import Refine, Segmentation, segment
from zoo.models.sam_clip.text_tower import text_as_json, text_tokenizer
from zoo.models.sam_clip.vision import image_tokens


class SamClipModel(ImageTextModel):
    """SAM's image tower with two heads: one in a text tower's space, one that segments.

    `encode_image`, `encode_text` and all else of an image-text model work as they do there, for
    pictures of every size that the stride divides. Whatever begins with `tokens` shares one pass of
    the tower.
    """

    card: SamClipCard  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        card: SamClipCard,
        image_encoder: nn.Module,
        clip_head: ClipHead,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        text_encoder: nn.Module,
        preprocess: Preprocessing,
    ) -> None:
        super().__init__(card, image_encoder, text_encoder, preprocess)
        self._tokenizer = text_tokenizer(card.text)
        self.clip_head = clip_head
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder

    def file_metadata(self) -> dict[str, str]:
        """Return what the header of a weights file says of the text tower and the sizes, as JSON by
        name."""
        card = self.card
        sizes = {
            "embed_dim": card.embed_dim,
            "mask_image_size": card.mask_image_size,
            "segmentation_image_size": card.segmentation_image_size,
        }
        return {"text": text_as_json(card.text), "sizes": json.dumps(sizes)}

    def encode_image(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, embed_dim) of preprocessed pictures (B, 3, S, S)."""
        features = self.clip_head(self.tokens(image))
        return F.normalize(features, dim=-1) if normalize else features

    def dense_features(self, image: Tensor, normalize: bool = False) -> Tensor:
        """Return features (B, h, w, embed_dim) of every patch, in the text tower's space."""
        features = self.clip_head.patches(self.tokens(image))
        return F.normalize(features, dim=-1) if normalize else features

    def tokens(self, image: Tensor) -> Tensor:
        """Return the tower's tokens (B, h, w, width) of normalised pictures (B, 3, S, S), before
        SAM's neck: what both heads read."""
        return image_tokens(self.image_encoder, image)

    def mask_embedding(self, tokens: Tensor) -> Tensor:
        """Return what the mask decoder reads, (B, decoder width, h, w)."""
        neck: Any = self.image_encoder.get_submodule("neck")
        return neck(tokens.permute(0, 3, 1, 2))

    def decode_masks(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        """Return masks (N, 4, 4h, 4w), logits, and their predicted IoU (N, 4).

        `embedding` is that of one picture (1, decoder width, h, w) for all prompts, or has a row
        for each prompt. Of the four masks the first answers prompts that say enough (a box, several
        points), the other three a single point.
        """
        height, width = embedding.shape[2:]
        encoder = self.prompt_encoder
        dense = encoder.without_mask() if prompts.masks is None else encoder.masks(prompts.masks)
        return self.mask_decoder(
            embedding + dense,
            encoder.grid_positions(height, width),
            encoder(prompts.points, prompts.labels),
            prompts.labels != ABSENT,
        )

    def look(self, image: ImageSource) -> Look:
        """Return one pass of the tower over a picture (path, bytes, PIL image or tensor), which
        `predict_masks` and `segment` take in the picture's place without another.

        The picture has SAM's geometry: the longer side becomes the card's `mask_image_size`, the
        rest of the square is padding.
        """
        return look(self, image)

    def predict_masks(
        self,
        image: ImageSource | Look,
        *,
        points: Numbers | None = None,
        point_labels: Numbers | None = None,
        boxes: Numbers | None = None,
        mask: Numbers | None = None,
        multimask: bool | None = None,
    ) -> MaskPrediction:
        """Return the masks that prompts find in a picture, as SAM does.

        A prompt may have points, a box and a mask, in any mix; all coordinates are pixels of the
        picture, x before y.

        Args:
            image: the picture, or a look at it.
            points: (N, P, 2), or (P, 2) for one prompt.
            point_labels: (N, P) or (P,): 1 inside of the object, 0 outside; inside by default.
            boxes: (N, 4) or (4,): left, top, right and bottom.
            mask: (N, 4h, 4w) or (4h, 4w): logits of an earlier prediction.
            multimask: give three masks (a part, the object, more) instead of one; by default for a
                single point alone.

        Raises:
            ValueError: no prompt, one of another form, or coordinates outside of the picture.
            FileNotFoundError: no picture there.
        """
        return predict_masks(
            self,
            image,
            points=points,
            point_labels=point_labels,
            boxes=boxes,
            mask=mask,
            multimask=multimask,
        )

    def segment(
        self,
        image: ImageSource | Look,
        labels: Sequence[str],
        *,
        refine: Refine = False,
        templates: Sequence[str] = DEFAULT_TEMPLATES,
        background: float | None = None,
    ) -> Segmentation:
        """Say which of the labels every pixel of a picture has.

        Without refinement the CLIP head classifies patches of the whole picture as a square of the
        card's `segmentation_image_size`, or of a look. With it, it classifies those of a look, from
        whose same pass SAM's decoder then draws every class.

        Args:
            image: the picture, or a look at it.
            labels: names of the classes.
            refine: False; True for the paper's refinement, a prompt of points and a map for every
                class; "regions" for a prompt of box, point and map for every connected region.
            templates: sentences with {} for the name. The paper's figures take the 80 of
                `open_clip.OPENAI_IMAGENET_TEMPLATES`, called with "{}" each.
            background: a probability in (0, 1), below which a pixel belongs to no label and has
                class -1; refined, such patches prompt nothing and the background is what lies in
                no mask. None gives every pixel a label.

        Raises:
            ValueError: a label, template, threshold or kind of refinement that is not one.
            FileNotFoundError: no picture there.
        """
        return segment(
            self, image, labels, refine=refine, templates=templates, background=background
        )
