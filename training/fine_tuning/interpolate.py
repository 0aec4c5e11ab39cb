"""Between the weights before fine-tuning and after it: WiSE-FT (arXiv 2109.01903, section 4)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zoo.models.assemble import assemble
from zoo.models.card import ImageTextCard
from zoo.models.checkpoint import Checkpoint, read_checkpoint, save_weights
from zoo.models.registry import get_card_of


def interpolate_weights(first: Path, second: Path, alpha: float, output: Path) -> None:
    """Write (1 - alpha) · `first` + alpha · `second` to `output`, a file as `save_weights` makes.

    `second` is a file of zoo's, which says whose weights it holds; `first` are weights of the same
    model in any naming and in the same form, e.g. the published ones. BatchNorm's statistics are
    interpolated too; integers, such as its count of batches, are those of `second`.

    Raises FileNotFoundError for a file that is not there, and ValueError when `alpha` is not
    between 0 and 1 or the files do not hold the same tensors.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(
            f"alpha is {alpha}; give a number between 0, the first, and 1, the second."
        )
    after = read_checkpoint(second)
    name = _model_name(after)
    model, form = assemble(get_card_of(ImageTextCard, name), after)
    start, start_form = assemble(get_card_of(ImageTextCard, name), read_checkpoint(first))
    if start_form != form:
        raise ValueError(
            f"'{first}' holds {start_form} weights but '{second}' {form} ones; give both files "
            "in the same form, best as training wrote them."
        )
    if start.preprocessing != model.preprocessing:
        raise ValueError(
            f"'{first}' is for another preprocessing than '{second}' ({start.preprocessing} and "
            f"{model.preprocessing}); give weights of one training."
        )
    model.load_state_dict(interpolate_states(start.state_dict(), model.state_dict(), alpha))
    save_weights(model, output)


def interpolate_states(
    first: Mapping[str, Tensor], second: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """Return (1 - alpha) · `first` + alpha · `second` of two state dicts with the same names."""
    return {
        name: (
            ((1 - alpha) * first[name].to(after) + alpha * after).to(after)
            if after.is_floating_point()
            else after
        )
        for name, after in second.items()
    }


def _model_name(checkpoint: Checkpoint) -> str:
    if checkpoint.written_for is None:
        raise ValueError(
            f"'{checkpoint.source}' does not say whose weights it holds; give the file that zoo's "
            "training wrote, or convert it with `zoo convert --naming zoo`."
        )
    return checkpoint.written_for
