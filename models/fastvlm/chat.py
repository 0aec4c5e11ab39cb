"""A conversation that reads nothing twice."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from zoo.models.fastvlm.generation import (
    Images,
    Reader,
    Sampling,
    check_length,
    embed,
    encode_pictures,
    new_cache,
    next_tokens,
    pieces,
    sources_of,
)
from zoo.models.fastvlm.prompt import (
    DEFAULT_SYSTEM_PROMPT,
    IMAGE_TOKEN,
    IMAGE_TOKEN_INDEX,
    encode_answer_end,
    encode_opening,
    encode_question,
    with_images,
)


class Chat:
    """Questions and answers in turn, over a cache of all that was read and said.

    A question costs the tower only its new pictures and the language model only its new tokens.
    """

    def __init__(
        self,
        model: Reader,
        images: Images = None,
        *,
        system_prompt: str = DEFAULT_SYSTEM_PROMPT,
    ) -> None:
        """`images`: what the conversation is about; they come before the first question, and the
        tower sees them now. Raises what `Preprocessing` raises for what is no picture."""
        self._model = model
        self._pictures = encode_pictures(model, sources_of(images))
        self._opening = encode_opening(model.tokenizer, system_prompt)
        self._cache = new_cache()
        self._read = 0
        self._ids, self._visual_tokens = self._opening, self._pictures.tokens

    def ask(
        self,
        question: str,
        *,
        images: Images = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> str:
        """Return the answer to the next question. Arguments and errors are those of `stream`."""
        return "".join(
            self.stream(
                question,
                images=images,
                max_new_tokens=max_new_tokens,
                temperature=temperature,
                top_p=top_p,
            )
        )

    def stream(
        self,
        question: str,
        *,
        images: Images = None,
        max_new_tokens: int = 256,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> Generator[str, None, None]:
        """Yield the answer to the next question in pieces, as they are said.

        Whoever stops reading cuts the answer short: the conversation goes on from there. After an
        error, Ctrl-C among them, it stands as far as it came, too.

        Args:
            question: may name its own `images` by `<image>`; else they come before it.
            images: new pictures.
            max_new_tokens: where an answer that does not end is cut.
            temperature: 0 takes the likeliest token; above, torch's generator draws one.
            top_p: draw only among the likeliest tokens that have this probability together.

        Raises:
            ValueError: what is no picture, another number of pictures than the question names, or
                more tokens than the language model can read.
        """
        sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p)
        pictures = encode_pictures(self._model, sources_of(images))
        ids = self._ids + self._turn(question, pictures.counts)
        check_length(self._model, len(ids), sampling)
        visual_tokens = torch.cat([self._visual_tokens, pictures.tokens])
        yield from pieces(self._model.tokenizer, self._tokens(ids, visual_tokens, sampling))

    def forget(self) -> None:
        """Go back to before the first question, keeping what was read of the images given at the
        beginning: the next question pays neither for them nor for the system prompt."""
        self._drop_broken_cache()
        kept = min(self._read, self._prefix)
        if kept < self._read:
            self._cache.crop(kept - self._read)
        self._read = kept
        self._ids, self._visual_tokens = self._opening, self._pictures.tokens

    @property
    def _prefix(self) -> int:
        """How many tokens every conversation over these images begins with."""
        counts = self._pictures.counts
        if not counts:
            return len(self._opening)
        ids = encode_question(self._model.tokenizer, f"{IMAGE_TOKEN}\n" * len(counts), counts)
        behind_last_visual = len(ids) - ids[::-1].index(IMAGE_TOKEN_INDEX)
        return len(self._opening) + behind_last_visual

    def _turn(self, question: str, counts: list[int]) -> list[int]:
        tokenizer, question = self._model.tokenizer, with_images(question, len(counts))
        if len(self._ids) > len(self._opening):
            return encode_answer_end(tokenizer) + encode_question(tokenizer, question, counts)
        given = self._pictures.counts
        return encode_question(
            tokenizer, f"{IMAGE_TOKEN}\n" * len(given) + question, given + counts
        )

    def _tokens(self, ids: list[int], visual_tokens: Tensor, sampling: Sampling) -> Iterator[int]:
        """Yield the answer to `ids`, the conversation up to a question, of which the part that is
        not in the cache is read. The state is true to the cache whenever this pauses or fails."""
        self._drop_broken_cache()
        unread = ids[self._read :]
        unseen = visual_tokens[len(visual_tokens) - unread.count(IMAGE_TOKEN_INDEX) :]
        embeddings = embed(self._model, torch.tensor([unread], device=visual_tokens.device), unseen)
        for (token,) in next_tokens(self._model, embeddings, self._cache, sampling=sampling):
            self._ids, self._visual_tokens, self._read = ids, visual_tokens, len(ids)
            if token is not None:
                ids.append(token)
                yield token

    def _drop_broken_cache(self) -> None:
        """Start with an empty cache where an error stopped the language model midway."""
        if self._cache.get_seq_length() != self._read:
            self._cache, self._read = new_cache(), 0
