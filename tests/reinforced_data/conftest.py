"""Shards and teachers that the tests of this folder share.

Used by .venv/bin/pytest tests/reinforced_data
"""

from pathlib import Path

import pytest
from tiny_shards import make_samples, random_teacher

from zoo.reinforced_data.engine.teachers import Teacher
from zoo.reinforced_data.shards.write import write_shards


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Eleven samples with two captions each, in shards of six and five."""
    return write_shards(make_samples(), tmp_path / "shards", samples_per_shard=6)


@pytest.fixture(scope="session")
def teacher() -> Teacher:
    return random_teacher("tiny", 0)


@pytest.fixture(scope="session")
def second_teacher() -> Teacher:
    return random_teacher("other.tiny", 1)
