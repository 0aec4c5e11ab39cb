"""Several data sets dealt into one endless sequence in exact proportions.

The sequence is cut into blocks. After any number of blocks, each data set has had its share of all
places, rounded down or up (largest remainders first); inside a block the deal is a random order.
Every data set walks through its own passes, so its samples stay shown equally often.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

import numpy as np

from zoo.reinforced_data.loading.plan import Place, SamplePlan
from zoo.reinforced_data.randomness import keyed_rng

_SMALLEST_BLOCK = 1024
_LARGEST_BLOCK = 1 << 20


class Mixture:
    """The endless sequence of showings of all data sets."""

    def __init__(self, plans: Sequence[SamplePlan], weights: Sequence[float], seed: int) -> None:
        """Deal places in proportion to `weights`, one a plan.

        Raises ValueError for weights that are not above 0 or too far apart.
        """
        if not all(0 < weight < float("inf") for weight in weights):
            raise ValueError(f"The weights of the data are {list(weights)}; give each above 0.")
        exact = [Fraction(weight) for weight in weights]
        self._shares = [weight / sum(exact) for weight in exact]
        # With a place or more a block for each, rounding never takes back what was dealt.
        self._block = max(_SMALLEST_BLOCK, ceil(1 / min(self._shares)))
        if self._block > _LARGEST_BLOCK:
            raise ValueError(
                f"The weights of the data are {list(weights)}; the smallest must be more than a "
                "millionth of their sum."
            )
        self._plans, self._seed = list(plans), seed
        self._dealt = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Showings of all passes, one of each data set: an epoch."""
        return sum(map(len, self._plans))

    def places(self, start: int, stop: int) -> list[tuple[int, Place]]:
        """Return data set and showing at `start` … `stop` - 1 of the sequence."""
        found: list[tuple[int, Place]] = []
        while start < stop:
            block, begin = divmod(start, self._block)
            part = self._deal(block)[begin : begin + stop - start]
            found += self._fill(block, begin, part)
            start += len(part)
        return found

    def _fill(self, block: int, begin: int, part: np.ndarray) -> list[tuple[int, Place]]:
        """Give each dealt place the next showing of its data set."""
        before = np.bincount(self._deal(block)[:begin], minlength=len(self._plans))
        starts = (np.array(self._had(block)) + before).tolist()
        counts = np.bincount(part, minlength=len(self._plans)).tolist()
        streams = [
            iter(plan.places(first, first + count))
            for plan, first, count in zip(self._plans, starts, counts, strict=True)
        ]
        return [(data_set, next(streams[data_set])) for data_set in part.tolist()]

    def _deal(self, block: int) -> np.ndarray:
        """The data set of each place of a block: int64 (block,)."""
        if self._dealt[0] != block:
            counts = np.subtract(self._had(block + 1), self._had(block))
            in_turn = np.repeat(np.arange(len(counts)), counts)
            rng = keyed_rng(self._seed, "mixture", block)
            self._dealt = block, rng.permutation(in_turn)
        return self._dealt[1]

    def _had(self, blocks: int) -> list[int]:
        """Places of each data set in the first `blocks` blocks: exact shares, rounded."""
        places = blocks * self._block
        exact = [places * share for share in self._shares]
        whole = [int(share) for share in exact]
        by_remainder = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
        for i in by_remainder[: places - sum(whole)]:
            whole[i] += 1
        return whole
