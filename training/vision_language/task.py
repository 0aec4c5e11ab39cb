"""Learning to answer questions about pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import ProcessGroup
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from zoo.models.fastvlm.language_model import write_tokenizer
from zoo.models.fastvlm.vision_language_model import VisionLanguageModel
from zoo.training.parallel.blocks import blocks_of
from zoo.training.parallel.collectives import total
from zoo.training.running_statistics import running_statistics_kept
from zoo.training.tasks.task import Batch, Features, Task

IGNORED = -100
"""Label of a token that the model is not to say."""
_LOGITS_AT_ONCE = 2**26
"""Float32 logits that exist at one time: 256 MiB, and as much again for their gradient."""


class VisualInstructionTask(Task[VisionLanguageModel]):
    """Visual instruction tuning (arXiv 2304.08485, section 4.2).

    L = -1/N Σ log P(token | all before it), over the N tokens of the answers in the batch: those of
    all parts and processes count alike, wherever they lie.

    Batches, padded on the right:

        input_ids       int64 (B, T)              IMAGE_TOKEN_INDEX once for every visual token
        labels          int64 (B, T)              the same ids where an answer is, else -100
        attention_mask  int64 (B, T)              0 at padding
        images          uint8 (B, V, 3, S, S)     views of each sample's pictures, one at least
        views           int64 (B,)                how many of them are real
    """

    adds_up = True

    def __init__(self, model: VisionLanguageModel, *, group: ProcessGroup | None = None) -> None:
        """Raises ValueError for a language model whose logits are not its last layer's output."""
        keys = ("input_ids", "labels", "attention_mask", "images", "views")
        super().__init__(model, keys, group=group)
        _check_logits(model.language_model)

    def with_shares(self, batch: Batch) -> Batch:
        """Add `share` (B,): 1 / N, what each of a sample's tokens counts."""
        count = (batch["labels"][:, 1:] != IGNORED).sum()
        share = total(count, self.group).clamp(min=1).float().reciprocal()
        return {**batch, "share": share.expand(len(batch["labels"]))}

    def forward(self, batch: Batch) -> Features:
        """Return `answer` (B,): of each sample the sum of -log P over its answers' tokens."""
        length = max(1, int(batch["attention_mask"].sum(dim=1).max()))
        ids, labels = batch["input_ids"][:, :length], batch["labels"][:, :length]
        # No mask: a token sees those before it alone, and the padding comes after all of them.
        output = self.model.language_model.base_model(
            inputs_embeds=self._embeddings(ids, batch), use_cache=False
        )
        return {"answer": self._surprise(output.last_hidden_state[:, :-1], labels[:, 1:])}

    def losses(self, features: Features, batch: Batch) -> dict[str, Tensor]:
        return {"answer_loss": total((features["answer"] * batch["share"]).sum(), self.group)}

    def write_own(self, tensors: Mapping[str, Tensor], folder: Path) -> None:
        """Write the tokenizer, which `load_model` looks for beside the weights."""
        write_tokenizer(self.model.tokenizer, folder)

    def compiled_parts(self) -> list[nn.Module]:
        """The tower's stem, stages and last convolution, the projector, and every layer of the
        language model: these are called, and not the tower and the model around them."""
        tower = self.model.image_encoder
        ends = tower.get_submodule("stem"), tower.get_submodule("final_conv")
        layers = blocks_of(self.model.language_model)
        return [*ends, *tower.get_submodule("stages").children(), self.model.projector, *layers]

    def _embeddings(self, ids: Tensor, batch: Batch) -> Tensor:
        """Return what the language model reads, (B, T, hidden)."""
        images, views = batch["images"], batch["views"]
        real = images[torch.arange(images.shape[1], device=views.device) < views[:, None]]
        if len(real):
            return self.model.embed(ids, self._visual_tokens(real))
        # A picture that nobody sees: every process has to have a gradient of every parameter.
        with running_statistics_kept(self.model.image_encoder):
            unseen = self._visual_tokens(torch.zeros_like(images[:1, 0]))
        return self.model.embed(ids) + (0 * unseen).sum()

    def _visual_tokens(self, views: Tensor) -> Tensor:
        return self.model.visual_tokens(self.model.preprocessing.normalize(views))

    def _surprise(self, hidden: Tensor, labels: Tensor) -> Tensor:
        """Return (B,): the sum of -log P of the `labels` (B, L), given what they follow from."""
        said = labels != IGNORED
        tokens = self._token_losses(hidden[said], labels[said])
        sample = said.nonzero()[:, 0]
        return tokens.new_zeros(len(labels)).index_add(0, sample, tokens)

    def _token_losses(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        """Return (N,): -log P of each of the `tokens` (N,), their logits never all at once."""
        head = self.model.language_model.get_output_embeddings()
        at_once = max(1, _LOGITS_AT_ONCE // head.weight.shape[0])
        if len(tokens) <= at_once:
            return _cross_entropies(head, hidden, tokens)
        pairs = zip(hidden.split(at_once), tokens.split(at_once), strict=True)
        return torch.cat(
            [checkpoint(_cross_entropies, head, *pair, use_reentrant=False) for pair in pairs]
        )


def _cross_entropies(head: nn.Module, hidden: Tensor, tokens: Tensor) -> Tensor:
    return F.cross_entropy(head(hidden).float(), tokens, reduction="none")


@torch.no_grad()
def _check_logits(language_model: Any) -> None:
    """Some models scale or cap what their last layer gives, which `_token_losses` leaves out: let
    the layer give known numbers once, and see whether they come out."""
    head: nn.Module = language_model.get_output_embeddings()
    known = torch.linspace(-100, 100, head.get_parameter("weight").shape[0])
    with head.register_forward_hook(lambda *_: known):
        one = language_model.get_input_embeddings().weight[:1, None]
        given = language_model(inputs_embeds=one, use_cache=False).logits
    if not torch.equal(given, known):
        raise ValueError(
            f"A language model of type {language_model.config.model_type} changes its logits after "
            "its last layer, which training does not know of; take another, such as Qwen2."
        )
