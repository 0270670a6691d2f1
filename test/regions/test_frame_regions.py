"""The regions of a frame: what is inferred, and what their tracks answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Sequence

from bags.detection_messages import at
import numpy as np

from resnet_trt_node.contract.spec import ModelSpec, ResizeRule
from resnet_trt_node.imaging.compressed.picture_header import PictureHeader
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.regions.frame_regions import FrameRegions, RegionClassifier
from resnet_trt_node.regions.region import Box, Region
from resnet_trt_node.regions.selection import RegionRules
from resnet_trt_node.regions.settings import RegionSettings
from resnet_trt_node.regions.track_cache import MAX_TRACKS, TrackSettings

SPEC = ModelSpec(
    height=8, width=8, labels=('red', 'green'), resize=ResizeRule(8, 8, 8), precision='fp32')
BOX = Box(20, 20, 16, 16)
MS = 1_000_000
START = 1_700_000_000_000 * MS


def make_classifier(**rules: int) -> RegionClassifier:
    """Return one that keeps tracks."""
    return RegionClassifier(SPEC, RegionSettings(
        rules=RegionRules(**rules), tracks=TrackSettings(track_cache=True)))


def begin(
        classifier: RegionClassifier, stamp_ns: int, regions: Sequence[Region]) -> FrameRegions:
    """Return a frame of black pixels."""
    return FrameRegions(
        classifier, 'front', stamp_ns, regions, (40, 40),
        lambda: Frame(np.zeros((40, 40, 3), np.uint8), 'rgb'))


def infer(
        classifier: RegionClassifier, stamp_ns: int, regions: Sequence[Region]) -> list[str]:
    """Answer all regions; return what became of each."""
    frame = begin(classifier, stamp_ns, regions)
    for row in range(frame.num_rows):
        frame.take(row, np.array((0.25, 0.75), np.float32))
    return [answer.outcome for answer in frame.answers(1, 0.0, None)]


def test_as_many_tracks_are_kept_as_a_frame_may_have() -> None:
    number = MAX_TRACKS + 100
    classifier = make_classifier(max_regions=number)
    regions = [Region(BOX, str(place)) for place in range(number)]
    assert infer(classifier, START, regions) == ['answered'] * number
    assert infer(classifier, START + MS, regions) == ['cached'] * number


def test_a_frame_without_regions_tells_that_time_went_back() -> None:
    classifier = make_classifier()
    regions = [Region(BOX, '7')]
    assert infer(classifier, START + 5000 * MS, regions) == ['answered']
    assert infer(classifier, START + 5050 * MS, regions) == ['cached']
    assert infer(classifier, START, []) == []
    assert infer(classifier, START + 5100 * MS, regions) == ['answered']


def test_a_box_that_is_too_large_costs_no_other_one_of_its_frame() -> None:
    pixels = np.zeros((60, 33_000, 3), np.uint8)
    regions = [Region(box) for box in (
        Box(100, 30, 40, 40), Box(16_500, 30, 32_900, 40, 1e-3), Box(300, 30, 40, 40, 0.5))]
    work = FrameRegions(
        make_classifier(), 'front', 1, regions, (60, 33_000), lambda: Frame(pixels, 'rgb'))
    assert list(work.inferred) == [0, 2]
    row = np.empty((8, 8, 3), np.uint8)
    for index in range(work.num_rows):
        work.fill(index, row)
        work.take(index, np.array([0.25, 0.75], np.float32))
    assert [one.outcome for one in work.answers(1, 0.0, None)] == [
        'answered', 'too_large', 'answered']
    assert work.outcomes['too_large'] == 1


def test_a_frame_that_the_device_refused_is_let_go_when_all_its_regions_are_cropped() -> None:
    loaded = []

    def load():
        loaded.append(1)
        return Frame(np.zeros((96, 128, 3), np.uint8), 'rgb')
    header = PictureHeader('jpeg', 128, 96, 3)
    found = FrameRegions(
        RegionClassifier(SPEC, RegionSettings()), 'front', 1,
        [Region(at(10 * place, 10, 40, 40)) for place in range(3)], (96, 128), load,
        EncodedPicture(b'', header))
    writes = []
    rows = SimpleNamespace(decodes=True, put_encoded=lambda place, picture, grid, write: (
        writes.append(write)))
    assert [found.offload(index, rows, index) for index in range(3)] == ['jpeg'] * 3
    row = np.empty((SPEC.height, SPEC.width, 3), np.uint8)
    for number, write in enumerate(writes, 1):
        write(row)
        assert (found._frame is None) == (number == 3)
    assert len(loaded) == 1
