"""Regions of frames in shared batches: frames come out in order, each with its own answers."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.cli.support.regions.frame_batches import FrameBatches
from resnet_trt_node.errors import FrameError


class StandInRegions:
    """What `FrameBatches` asks of the regions of a frame: rows of known red values."""

    def __init__(self, *values: int, bad: int = -1) -> None:
        self.values, self.bad = values, bad
        self.found: dict[int, int] = {}

    @property
    def num_rows(self) -> int:
        return len(self.values)

    def fill(self, index: int, row: Any) -> None:
        if index == self.bad:
            raise FrameError('cannot be cropped')
        row[:] = (self.values[index], 0, 0)

    def offload(self, index: int, rows: Any, place: int) -> str:
        raise AssertionError('this backend has no device')

    def take(self, index: int, probabilities: Any) -> None:
        assert index not in self.found
        self.found[index] = int(probabilities.argmax())

    def is_right(self) -> bool:
        return self.found == dict(enumerate(self.values))


@pytest.fixture
def backend(buffers: int):
    """Return a backend with four rows in each buffer."""
    with SimulatedBackend('', SimulatedOptions(
            max_batch_size=4, num_buffers=buffers, simulated_ms=0.0)) as opened:
        yield opened


@pytest.fixture
def buffers() -> int:
    """Return how many buffers the backend has."""
    return 1


def add(batches: Any, name: str, regions: StandInRegions) -> list[str]:
    """Add a frame; return which frames are done, all with their own answers."""
    batches.add(name, regions)
    return done(batches)


def done(batches: Any) -> list[str]:
    """Return the frames that are done."""
    found = list(batches.done())
    assert all(regions.is_right() for _, regions in found)
    return [name for name, _ in found]


def test_frames_share_batches_and_wait_for_their_last_piece(backend):
    batches: FrameBatches[str] = FrameBatches(backend)
    assert add(batches, 'none', StandInRegions()) == ['none']
    assert add(batches, 'a', StandInRegions(1, 2, 3)) == []
    assert add(batches, 'b', StandInRegions(4, 5)) == ['a']
    # Done, but behind one that is not.
    assert add(batches, 'c', StandInRegions()) == []
    assert batches.waiting == ['b', 'c']
    assert add(batches, 'large', StandInRegions(*range(10, 20))) == ['b', 'c']
    batches.finish()
    assert done(batches) == ['large']
    assert batches.waiting == []


def test_a_frame_that_cannot_be_cropped_takes_no_other_with_it(backend):
    batches: FrameBatches[str] = FrameBatches(backend)
    add(batches, 'a', StandInRegions(1, 2))
    with pytest.raises(FrameError, match='cannot be cropped'):
        batches.add('bad', StandInRegions(*range(7), bad=5))
    assert add(batches, 'b', StandInRegions(3, 4)) == ['a']
    batches.finish()
    assert done(batches) == ['b']


def test_no_more_frames_wait_than_a_batch_has_rows(backend):
    batches: FrameBatches[int] = FrameBatches(backend)
    batches.add(0, StandInRegions(9))
    for number in range(1, 5):
        assert batches.waiting == list(range(number))
        batches.add(number, StandInRegions())
    assert done(batches) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize('buffers', [1, 2, 3])
@pytest.mark.parametrize('seed', range(20))
def test_whatever_comes_comes_out_in_order_with_its_own_answers(backend, buffers, seed):
    random, batches = Random(seed), FrameBatches(backend)
    kept, found = [], []
    for number in range(60):
        size = random.choice((0, 0, 1, 2, 3, 9))
        bad = random.randrange(size) if size and random.random() < 0.2 else -1
        regions = StandInRegions(*(random.randrange(256) for _ in range(size)), bad=bad)
        if bad < 0:
            kept.append(number)
            found += add(batches, number, regions)
        else:
            with pytest.raises(FrameError):
                batches.add(number, regions)
            found += done(batches)
        assert len(batches.waiting) <= buffers * backend.max_batch_size
    batches.finish()
    assert found + done(batches) == kept
