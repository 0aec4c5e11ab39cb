"""Reports of the curation commands: figures, and pictures where the shards are at hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageOps

from zoo.eval.plots import histogram, ranks, run_colours, scatter
from zoo.eval.report import (
    FigureSection,
    ImageGridSection,
    Section,
    TableSection,
    TextSection,
    Tile,
)
from zoo.models.preprocess import open_image
from zoo.reinforced_data.curation.balance import Balanced
from zoo.reinforced_data.curation.dedup import Deduplicated
from zoo.reinforced_data.curation.filter import Filtered
from zoo.reinforced_data.curation.pool import Pool
from zoo.reinforced_data.curation.prune import Pruned
from zoo.reinforced_data.curation.queries import Queries
from zoo.reinforced_data.curation.retrieve import Retrieved
from zoo.reinforced_data.shards.index import ShardIndex
from zoo.reinforced_data.shards.sample import Sample

_COLOURS = run_colours(["before", "after", "clusters"])
_BEFORE, _AFTER, _CLUSTERS = _COLOURS.values()
_TILE_PIXELS = 320
_TILES = 6
_ROWS = 20
_SHOWN_QUERIES = 4


def filter_sections(pool: Pool, found: Filtered) -> list[Section]:
    """Histogram of the cosines, and pairs from four places of it."""
    figure = histogram(
        found.scores,
        _AFTER,
        x_label="cosine of picture and caption",
        y_label="samples",
        threshold=found.threshold,
    )
    order = np.argsort(-found.scores, kind="stable")
    last = len(found.kept)
    places = {
        "Most alike": order[:_TILES],
        "Just kept": order[max(0, last - _TILES) : last],
        "Just dropped": order[last : last + _TILES],
        "Least alike": order[last:][-_TILES:],
    }
    sections: list[Section] = [
        FigureSection(
            heading="Image-text similarity",
            figure=figure,
            caption="What lies left of the line is dropped.",
        )
    ]
    for heading, numbers in places.items():
        notes = [f"cosine {found.scores[number]:.3f}" for number in numbers]
        sections += _grid(pool, heading, numbers, notes)
    return sections


def dedup_sections(pool: Pool, found: Deduplicated) -> list[Section]:
    """Histogram of the similarities, clusters, and pairs that were found alike."""
    compared = found.similarity[found.similarity > -1]
    sections: list[Section] = (
        [
            FigureSection(
                heading="Similarity to an earlier sample of the cluster",
                figure=histogram(
                    compared,
                    _AFTER,
                    x_label="highest cosine",
                    y_label="samples",
                    threshold=1 - found.epsilon,
                    kept="below",
                    log=True,
                ),
                caption="What lies right of the line is dropped.",
            ),
            _cluster_figure(found.clusters.sizes, _kept_sizes(found), "Clusters"),
        ]
        if len(compared)
        else []
    )
    gone = np.setdiff1d(np.arange(len(pool)), found.kept)
    gone = gone[np.argsort(-found.similarity[gone], kind="stable")]
    sections += _pairs(pool, "Most alike", gone[:_TILES], found)
    return sections + _pairs(pool, "Just alike enough to go", gone[_TILES:][-_TILES:], found)


def prune_sections(pool: Pool, found: Pruned) -> list[Section]:
    """Complexity against what is kept, and samples of the two extreme clusters."""
    sizes = found.clusters.sizes
    filled = np.flatnonzero(sizes)
    shares = found.quota[filled] / sizes[filled]
    order = filled[np.argsort(-found.complexity[filled], kind="stable")]
    sections: list[Section] = [
        FigureSection(
            heading="Complexity and share kept",
            figure=scatter(
                {"clusters": np.stack([found.complexity[filled], 100 * shares], axis=1)},
                _COLOURS,
                x_label="complexity, d_intra · d_inter",
                y_label="per cent kept",
            ),
            caption="One point a cluster.",
        ),
        _cluster_figure(sizes, found.quota, "Size and quota"),
        TableSection(
            heading="Most complex clusters",
            columns=["cluster", "samples", "kept", "d_intra", "d_inter", "complexity"],
            rows=[_cluster_row(found, cluster) for cluster in order[:_ROWS].tolist()],
        ),
    ]
    for heading, cluster in (("most", order[0]), ("least", order[-1])):
        members = found.clusters.members(int(cluster))
        hardest, easiest = members[:_TILES], members[_TILES:][-_TILES:]
        similarity = found.clusters.similarity
        notes = [f"cosine to centroid {similarity[n]:.3f}" for n in (*hardest, *easiest)]
        title = f"The {heading} complex cluster: its hardest and its easiest samples"
        sections += _grid(pool, title, np.concatenate([hardest, easiest]), notes)
    return sections


def retrieve_sections(pool: Pool, found: Retrieved, queries: Queries) -> list[Section]:
    """Similarities, samples a query, and the nearest samples of the first queries."""
    sections: list[Section] = [
        FigureSection(
            heading="Similarity to the query",
            figure=histogram(found.similarity, _AFTER, x_label="cosine", y_label="samples"),
        ),
        TableSection(
            heading="Queries whose samples resemble them least",
            columns=["query", "samples", "mean cosine"],
            rows=_query_rows(found, queries),
        ),
    ]
    for query in range(min(_SHOWN_QUERIES, len(queries.names))):
        mine = np.flatnonzero(found.query == query)
        mine = mine[np.argsort(-found.similarity[mine], kind="stable")][:_TILES]
        notes = [f"cosine {found.similarity[place]:.3f}" for place in mine]
        sections += _grid(pool, f"Nearest to “{queries.names[query]}”", found.kept[mine], notes)
    return sections


def balance_sections(found: Balanced) -> list[Section]:
    """The long tail before and after, its rarest and its most frequent concepts."""
    named = np.flatnonzero(found.counts)
    rarest = named[np.argsort(found.counts[named], kind="stable")]
    never = [found.concepts[number] for number in np.flatnonzero(found.counts == 0)]
    return [
        FigureSection(
            heading="How often concepts are named",
            figure=ranks(
                {"before": found.counts, "after": found.balanced_counts},
                _COLOURS,
                x_label="concepts, most frequent first",
                y_label="samples that name it",
                level=found.cap,
            ),
            caption="The dotted line is the cap. A sample that also names something rarer keeps a "
            "higher weight, so that frequent concepts stay above it.",
        ),
        _concept_table(found, "Rarest concepts", rarest[:_ROWS]),
        _concept_table(found, "Most frequent concepts", rarest[::-1][:_ROWS]),
        TextSection(
            heading=f"Never named: {len(never):,} concepts",
            text=", ".join(never) if never else "Every concept is named.",
        ),
    ]


def _cluster_figure(sizes: np.ndarray, kept: np.ndarray, heading: str) -> FigureSection:
    filled = sizes > 0
    points = np.stack([sizes[filled], kept[filled]], axis=1)
    return FigureSection(
        heading=heading,
        figure=scatter(
            {"clusters": points}, _COLOURS, x_label="samples", y_label="samples kept", log="xy"
        ),
        caption="One point a cluster.",
    )


def _kept_sizes(found: Deduplicated) -> np.ndarray:
    return np.bincount(found.clusters.cluster[found.kept], minlength=len(found.clusters.centroids))


def _cluster_row(found: Pruned, cluster: int) -> list[int | float]:
    return [
        cluster,
        int(found.clusters.sizes[cluster]),
        int(found.quota[cluster]),
        float(found.spread[cluster]),
        float(found.isolation[cluster]),
        float(found.complexity[cluster]),
    ]


def _query_rows(found: Retrieved, queries: Queries) -> list[list[str | int | float | None]]:
    sums = np.bincount(found.query, found.similarity, minlength=len(queries.names))
    means = sums / np.maximum(found.counts, 1)
    return [
        [queries.names[query], int(found.counts[query]), float(means[query])]
        for query in np.argsort(means, kind="stable")[:_ROWS].tolist()
    ]


def _concept_table(found: Balanced, heading: str, numbers: np.ndarray) -> TableSection:
    return TableSection(
        heading=heading,
        columns=["concept", "samples", "with weights"],
        rows=[
            [found.concepts[n], int(found.counts[n]), float(found.balanced_counts[n])]
            for n in numbers.tolist()
        ],
    )


def _grid(
    pool: Pool, heading: str, numbers: np.ndarray, notes: Sequence[str]
) -> list[ImageGridSection]:
    """A contact sheet of samples; none where a shard is not beside its sidecar."""
    samples = [_sample(pool, number) for number in numbers.tolist()]
    tiles = [
        Tile(image=_picture(sample), caption=_caption(sample), verdict=note)
        for sample, note in zip(samples, notes, strict=True)
        if sample is not None
    ]
    return [ImageGridSection(heading=heading, tiles=tiles)] if tiles else []


def _pairs(
    pool: Pool, heading: str, numbers: np.ndarray, found: Deduplicated
) -> list[ImageGridSection]:
    tiles = []
    for number in numbers.tolist():
        twin, gone = _sample(pool, int(found.twin[number])), _sample(pool, number)
        if twin is not None and gone is not None:
            note = f"cosine {found.similarity[number]:.4f}"
            caption = f"{twin.key} | {gone.key}"
            tiles.append(Tile(image=_side_by_side(twin, gone), caption=caption, verdict=note))
    note = "Right: dropped because of the sample on the left."
    return [ImageGridSection(heading=heading, tiles=tiles, note=note)] if tiles else []


def _sample(pool: Pool, number: int) -> Sample | None:
    shard, row = pool.place(number)
    path = shard.sidecar.with_name(shard.name)
    return ShardIndex(path, on_error="skip").read(row) if path.is_file() else None


def _picture(sample: Sample) -> Image.Image:
    return open_image(sample.image)


def _caption(sample: Sample) -> str:
    return sample.captions[0] if sample.captions else sample.key


def _side_by_side(left: Sample, right: Sample) -> Image.Image:
    half = (_TILE_PIXELS // 2, _TILE_PIXELS)
    sheet = Image.new("RGB", (_TILE_PIXELS, _TILE_PIXELS))
    sheet.paste(ImageOps.fit(_picture(left), half), (0, 0))
    sheet.paste(ImageOps.fit(_picture(right), half), (_TILE_PIXELS // 2, 0))
    return sheet
