"""What the tests of the node share."""

from __future__ import annotations

from typing import Any, Callable, Iterator

from pipeline_bench import Bench
import pytest


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Bench]]:
    """Give a maker of pipelines, each checked at the end: all frames counted, all freed."""
    benches: list[Bench] = []

    def make(**options: Any) -> Bench:
        benches.append(Bench(**options))
        return benches[-1]

    yield make
    for bench in benches:
        bench.check_end()
