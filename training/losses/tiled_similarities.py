"""A matrix of similarities with both its softmaxes, tile by tile."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from zoo.training.losses.tiles import Tiling, fit
from zoo.training.parallel.collectives import total_logsumexp

Place = tuple[int, int]
Scratch = tuple[Tensor, Tensor]
"""Room for the logits of a tile, and for their exponentials."""


class TiledSimilarities:
    """logits (b, B) = scale · rows columnsᵀ of one model, never whole.

    Making one goes through all tiles once, for the logsumexp of every row and column. With a
    `group`, the rows are this process's and the columns those of all processes.
    """

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        scale: Tensor | float,
        tiling: Tiling,
        scratch: Scratch,
        *,
        keep: int = 0,
        group: ProcessGroup | None = None,
    ) -> None:
        """`scratch` may be shared by several; `keep`: tiles that stay in memory for `logits`."""
        self.rows = rows  # (b, D)
        self.columns = columns  # (B, D)
        self.scale = scale
        self._one_exponential_range = _one_exponential_range(rows, tiling.side)
        self._scratch = scratch
        self._kept: dict[Place, Tensor] = {}
        self._shifts: dict[Place, Tensor | None] = {}
        self._scaled: tuple[slice, Tensor] | None = None
        row_sums = rows.new_full((len(rows),), -math.inf, dtype=torch.float64)
        column_sums = rows.new_full((len(columns),), -math.inf, dtype=torch.float64)
        for across in tiling.spans(len(rows)):
            for down in tiling.spans(len(columns)):
                of_rows, of_columns = self._measure(across, down, keep=len(self._kept) < keep)
                row_sums[across] = torch.logaddexp(row_sums[across], of_rows.double())
                column_sums[down] = torch.logaddexp(column_sums[down], of_columns.double())
        self.row_logsumexp = row_sums
        """float64 (b,)"""
        self.column_logsumexp = total_logsumexp(column_sums, group)
        """float64 (B,), over the rows of all processes."""

    @property
    def kept(self) -> int:
        """Tiles that stay in memory."""
        return len(self._kept)

    def logits(self, rows: slice, columns: slice) -> Tensor:
        """Return a tile, to be read only and until the scratch is used again."""
        kept = self._kept.get((rows.start, columns.start))
        if kept is not None:
            return kept
        return self._compute(rows, columns, out=fit(self._scratch[0], rows, columns))

    def add_softmaxes(
        self, sums: Tensor, logits: Tensor, rows: slice, columns: slice, *, weight: float
    ) -> None:
        """Add to a tile of sums: weight · (softmax over each row + softmax over each column)."""
        work = fit(self._scratch[1], rows, columns)
        shift = self._shifts[rows.start, columns.start]
        both = self.row_logsumexp[rows, None], self.column_logsumexp[columns]
        if shift is None:
            for logsumexp in both:
                torch.sub(logits, logsumexp.to(logits.dtype), out=work).exp_()
                sums.add_(work, alpha=weight)
            return
        torch.sub(logits, shift, out=work).exp_()
        for logsumexp in both:
            sums.addcmul_(work, (shift - logsumexp).exp_().to(work.dtype), value=weight)

    def _compute(self, rows: slice, columns: slice, *, out: Tensor) -> Tensor:
        if self._scaled is None or self._scaled[0] != rows:
            self._scaled = rows, self.rows[rows] * self.scale
        return torch.mm(self._scaled[1], self.columns[columns].T, out=out)

    def _measure(self, rows: slice, columns: slice, *, keep: bool) -> tuple[Tensor, Tensor]:
        """Return the logsumexp of a tile's rows and of its columns, and remember what helps later.

        Where a tile's values are near enough to each other, their exponentials serve both
        directions: exp(logits - shift), with one shift for all. Else each row and each column needs
        one of its own.
        """
        place = rows.start, columns.start
        work = fit(self._scratch[1], rows, columns)
        out = torch.empty_like(work) if keep else fit(self._scratch[0], rows, columns)
        logits = self._compute(rows, columns, out=out)
        if keep:
            self._kept[place] = logits
        shift = self._shifts[place] = self._shift(logits)
        if shift is None:
            return logits.logsumexp(dim=1), logits.logsumexp(dim=0)
        torch.sub(logits, shift, out=work).exp_()
        return work.sum(dim=1).log_() + shift, work.sum(dim=0).log_() + shift

    def _shift(self, logits: Tensor) -> Tensor | None:
        if logits.device.type != "cpu":
            return None  # asking a GPU would wait for it, and there exponentials cost nothing
        low, high = logits.aminmax()
        return high if high - low < self._one_exponential_range else None


def _one_exponential_range(like: Tensor, side: int) -> float:
    """Return how far below the highest value the others may be for one exponential to serve all.

    In a row whose values are that far below, what underflows is less than rounding is.
    """
    numbers = torch.finfo(like.dtype)
    return -math.log(numbers.tiny) + math.log(numbers.eps) - math.log(side)
