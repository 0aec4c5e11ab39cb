"""Recall@k equals a direct re-derivation in both directions, whatever the chunk, and ties lose.

.venv/bin/pytest tests/eval/test_retrieval.py
"""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from zoo.eval.retrieval import best_ranks, merge_captions, retrieval_metrics


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def noisy_set(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """30 pictures with 1 to 3 captions each, shuffled; the last caption has two pictures."""
    generator = torch.Generator().manual_seed(seed)
    images = unit(30, 12, seed=seed)
    of_text = torch.arange(30).repeat_interleave(torch.arange(30) % 3 + 1)
    of_text = of_text[torch.randperm(len(of_text), generator=generator)]
    texts = F.normalize(images[of_text] + 1.5 * unit(len(of_text), 12, seed=seed + 1), dim=-1)
    pairs = torch.stack([of_text, torch.arange(len(of_text))], dim=1)
    other = (int(of_text[-1]) + 1) % 30
    return images, texts, torch.cat([pairs, torch.tensor([[other, len(of_text) - 1]])])


def recall(
    queries: torch.Tensor, candidates: torch.Tensor, pairs: set[tuple[int, int]], k: int
) -> float:
    """The definition: any counterpart among the k highest scores."""
    hits = 0
    for query, feature in enumerate(queries):
        scores = [float(feature @ candidate) for candidate in candidates]
        order = sorted(range(len(scores)), key=lambda index: -scores[index])
        hits += any((query, candidate) in pairs for candidate in order[:k])
    return hits / len(queries)


@pytest.mark.parametrize("seed", range(3))
def test_recall_equals_the_definition_in_both_directions(seed: int) -> None:
    images, texts, pairs = noisy_set(seed)
    metrics = retrieval_metrics(images, texts, pairs)
    image_text = {(int(image), int(text)) for image, text in pairs}
    text_image = {(text, image) for image, text in image_text}
    for k in (1, 5, 10):
        assert metrics[f"text_retrieval_recall@{k}"] == pytest.approx(
            recall(images, texts, image_text, k)
        )
        assert metrics[f"image_retrieval_recall@{k}"] == pytest.approx(
            recall(texts, images, text_image, k)
        )
    both = metrics["image_retrieval_recall@1"] + metrics["text_retrieval_recall@1"]
    assert metrics["mean_recall@1"] == pytest.approx(both / 2)
    assert 0.1 < metrics["mean_recall@1"] < 0.9


@pytest.mark.parametrize("chunk_scores", [1, 70, 200, 10**6])
def test_the_chunk_size_changes_nothing(chunk_scores: int) -> None:
    images, texts, pairs = noisy_set(0)
    whole = best_ranks(images, texts, pairs)
    assert torch.equal(best_ranks(images, texts, pairs, chunk_scores=chunk_scores), whole)


def test_features_that_know_their_counterpart_score_everything() -> None:
    images = unit(20, 32)
    pairs = torch.stack([torch.arange(20).repeat(5), torch.arange(100)], dim=1)
    assert set(retrieval_metrics(images, images.repeat(5, 1), pairs).values()) == {1.0}


@pytest.mark.parametrize("constant", ["images", "texts", "both"])
def test_constant_features_never_score_above_chance(constant: str) -> None:
    images = unit(1, 8).expand(50, -1) if constant != "texts" else unit(50, 8)
    texts = unit(1, 8).expand(50, -1) if constant != "images" else unit(50, 8, seed=1)
    pairs = torch.arange(50).repeat(2, 1).T
    metrics = retrieval_metrics(images, texts, pairs)
    assert metrics["mean_recall@1"] <= 1 / 50
    assert constant != "both" or set(metrics.values()) == {0.0}


def test_a_wrong_candidate_that_ties_ranks_before_the_right_one() -> None:
    texts = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pairs = torch.tensor([[0, 0], [1, 2]])
    ranks = best_ranks(torch.eye(2), texts, pairs)
    assert ranks.tolist() == [1, 0]


def test_a_k_that_takes_every_candidate_is_not_a_figure() -> None:
    metrics = retrieval_metrics(torch.eye(4), torch.eye(4), torch.arange(4).repeat(2, 1).T)
    assert set(metrics) == {
        "image_retrieval_recall@1",
        "text_retrieval_recall@1",
        "mean_recall@1",
    }


def test_features_that_are_not_finite_are_refused() -> None:
    images, texts, pairs = noisy_set(0)
    texts[2] = float("inf")
    with pytest.raises(ValueError, match="text features of 1 of 60 items are not finite"):
        retrieval_metrics(images, texts, pairs)


def test_a_picture_without_caption_is_named() -> None:
    with pytest.raises(ValueError, match=r"1 of 3 queries have no counterpart.*number 1"):
        retrieval_metrics(torch.eye(3), torch.eye(3), torch.tensor([[0, 0], [2, 1], [2, 2]]))


def test_a_caption_that_two_pictures_carry_is_one_text_and_right_for_both() -> None:
    texts, pairs = merge_captions([("a dog", "a cat"), ("a bird",), ("a dog", "a dog")])
    assert texts == ["a dog", "a cat", "a bird"]
    assert pairs.tolist() == [[0, 0], [0, 1], [1, 2], [2, 0]]
