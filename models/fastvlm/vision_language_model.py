"""Image tower → projector → causal language model."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, cast, overload

import torch
from torch import Tensor, nn

from zoo.models.card import VisionLanguageCard
from zoo.models.fastvlm.chat import Chat
from zoo.models.fastvlm.generation import Images, Sampling, generate_answers
from zoo.models.fastvlm.multi_scale import MultiScalePooling
from zoo.models.fastvlm.prompt import DEFAULT_SYSTEM_PROMPT, IMAGE_TOKEN_INDEX
from zoo.models.fastvlm.views import Views
from zoo.models.fastvlm.vision_tower import feature_tokens
from zoo.models.preprocess import ImageSource, Preprocessing
from zoo.models.reparameterize import fold_entirely


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
        multi_scale: MultiScalePooling | None = None,
    ) -> None:
        """`views`: what becomes of a picture. `tokenizer`: transformers', which knows the tokens
        of ChatML; None where there is none, and only token ids can be given. `multi_scale`: joins
        features of earlier stages to those that the projector reads."""
        super().__init__()
        self.card = card
        self.image_encoder = image_encoder
        self.projector = projector
        self.language_model: Any = language_model
        self._views = views
        self._tokenizer = tokenizer
        self.multi_scale = multi_scale

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
    def has_tokenizer(self) -> bool:
        """Whether the weights came with a tokenizer."""
        return self._tokenizer is not None

    @property
    def views(self) -> Views:
        """How a picture becomes the tower's input."""
        return self._views

    def file_metadata(self) -> dict[str, str]:
        """Return what the header of a weights file says beside the card's name and the
        preprocessing, as JSON by name."""
        return {
            "language": json.dumps(asdict(self.card.language)),
            "grids": json.dumps(self.views.grids),
            "multi_scale": json.dumps(self.card.multi_scale),
        }

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
        """Return the tower's tokens (V, tokens, feature_dim) of views (V, 3, H, W); with
        `multi_scale` they are wider."""
        return feature_tokens(self.image_encoder, images, self.multi_scale)

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
        places = int(is_visual.sum())
        if places != given:
            raise ValueError(
                f"The token ids have {places} places for visual tokens, but the "
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

    @overload
    def generate(
        self,
        images: Images,
        prompt: str,
        *,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        system_prompt: str = ...,
    ) -> str: ...

    @overload
    def generate(
        self,
        images: Sequence[Images] | None,
        prompt: list[str],
        *,
        max_new_tokens: int = ...,
        temperature: float = ...,
        top_p: float = ...,
        system_prompt: str = ...,
    ) -> list[str]: ...

    def generate(
        self,
        images: Images | Sequence[Images],
        prompt: str | list[str],
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        system_prompt: str = DEFAULT_SYSTEM_PROMPT,
    ) -> str | list[str]:
        """Return the answer to a prompt, or to each of a list as one batch.

        FastVLM was not trained on several pictures in a prompt, nor on video frames; it takes them.

        Args:
            images: the pictures of the prompt: none, one, or a sequence; for a list of prompts as
                long a list of these. In any form that `preprocess` takes.
            prompt: where it says `<image>`, a picture stands; else all come before it.
            max_new_tokens: where an answer that does not end is cut.
            temperature: 0 takes the likeliest token; above, torch's generator draws one.
            top_p: draw only among the likeliest tokens that have this probability together.
            system_prompt: what the conversation begins with.

        Raises:
            ValueError: what is no picture, another number of pictures than the prompt names, more
                tokens than the language model can read, or weights without a tokenizer.
            FileNotFoundError: no picture at a path.
        """
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
        is_single = isinstance(prompt, str)
        prompts, pictures = _batch(prompt, images)
        answers = generate_answers(
            self, prompts, pictures, sampling=sampling, system_prompt=system_prompt
        )
        return answers[0] if is_single else answers

    def stream(
        self,
        images: Images,
        prompt: str,
        *,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
        system_prompt: str = DEFAULT_SYSTEM_PROMPT,
    ) -> Iterator[str]:
        """Yield the answer to a prompt in pieces as they are said; joined they are `generate`'s.

        Arguments and errors are those of `generate` for one prompt.
        """
        return self.chat(system_prompt=system_prompt).stream(
            prompt,
            images=images,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_p=top_p,
        )

    def chat(self, images: Images = None, *, system_prompt: str = DEFAULT_SYSTEM_PROMPT) -> Chat:
        """Return a conversation over pictures, of which nothing is read twice.

        Raises what `generate` raises.
        """
        return Chat(self, images, system_prompt=system_prompt)

    @torch.no_grad()
    def reparameterize(self) -> VisionLanguageModel:
        """Return a copy for inference, in eval mode, with the tower folded."""
        fused = copy.deepcopy(self)
        fold_entirely(fused.image_encoder)
        return fused.eval()


def _batch(
    prompt: str | list[str], images: Images | Sequence[Images]
) -> tuple[list[str], list[Images]]:
    """Return prompts and the pictures of each."""
    if isinstance(prompt, str):
        return [prompt], [cast(Images, images)]
    if images is None:
        return list(prompt), [None] * len(prompt)
    if isinstance(images, ImageSource) or len(images) != len(prompt):
        given = 1 if isinstance(images, ImageSource) else len(images)
        raise ValueError(
            f"There are {len(prompt)} prompts, but {given} entries of pictures; give for every "
            "prompt None, a picture, or a sequence of pictures."
        )
    return list(prompt), list(images)
