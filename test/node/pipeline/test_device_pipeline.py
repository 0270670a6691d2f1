"""A pipeline whose frames are resized on the device, by stand-ins and the kernel's own source."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any, Iterator

from bags.detection_messages import at
from models.tiny_model import COLOURS
import numpy as np
from pipelines.device_bench import Bench, CAMERAS, NAMES, Pair
import pytest
from resnet_trt_node.backends.cuda import picture_memory
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.on_device import grid as grids
from resnet_trt_node.imaging.raw.encodings import RawImage
from resnet_trt_node.node.pipeline.work import RegionFrames, RegionWork, WholeFrames
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.regions.region import Region
from resnet_trt_node.regions.settings import RegionSettings
from stand_ins.kernel_on_cpu import image_message, launch
from stand_ins.tensorrt_machine import World, worlds

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('either_caller')]


@pytest.fixture
def machine(monkeypatch: Any, tmp_path: Path) -> Iterator[World]:
    made = worlds(monkeypatch, tmp_path)
    world = next(made)()
    world.cuda.kernel = launch
    yield world
    next(made, None)


def coloured(name: str, seed: int) -> Any:
    """Return a message of one colour, of any size and of several encodings."""
    random = np.random.default_rng(seed)
    height, width = (2 * int(side) for side in random.integers(8, 60, 2))
    pixels = np.empty((height, width, 3), np.uint8)
    encoding = ('rgb8', 'bgr8')[seed % 2]
    pixels[:] = COLOURS[name][::1 if encoding == 'rgb8' else -1]
    return image_message(pixels, encoding, colour=name)


@pytest.mark.parametrize('threads', [1, 4])
def test_no_frame_gets_the_answer_of_another(machine: World, threads: int) -> None:
    bench = Bench(machine, WholeFrames('fast'), threads)
    random = np.random.default_rng(threads)
    broken = 0
    for number in range(400):
        message = coloured(NAMES[random.integers(len(NAMES))], number)
        if number % 7 == 3:
            message.data = message.data[:-1]
            broken += 1
        bench.pipeline.offer(CAMERAS[random.integers(len(CAMERAS))], message)
    bench.finish()
    assert len(bench.answers) == 400 - broken
    assert [answer[0].label for _, answer in bench.answers] == [
        message.colour for message, _ in bench.answers]
    assert bench.paths == {'gpu': 400 - broken}
    assert bench.pipeline.counters.total().dropped['malformed'] == broken == len(bench.bad)
    assert set(bench.pipeline.paths.values()) == {'raw'}


def test_what_the_device_does_not_convert_is_resized_by_the_cpu(machine: World) -> None:
    bench = Bench(machine, WholeFrames('exact'))
    for number in range(60):
        name = NAMES[number % len(NAMES)]
        if number % 3:
            message = coloured(name, number)
        else:
            floats = np.full((20, 30, 3), COLOURS[name][::-1], np.float32) / 255
            message = image_message(np.zeros((20, 30, 3), np.uint8), '32FC3', colour=name)
            message.data, message.step = floats.tobytes(), 360
        bench.pipeline.offer('front', message)
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == [
        message.colour for message, _ in bench.answers]
    assert bench.paths == {'gpu': 40, 'cpu': 20}


def test_a_frame_that_finds_no_room_is_answered_by_the_cpus_way(
        machine: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(picture_memory, '_FIRST_PICTURE_BYTES', 1 << 12)
    bench = Bench(machine, WholeFrames('exact'), max_batch_size=1)
    published = Event()
    for number in range(12):
        name = NAMES[number % len(NAMES)]
        pixels = np.full((200, 210, 3), COLOURS[name], np.uint8)
        bench.pipeline.offer('front', image_message(pixels, colour=name))
        published.wait(0.01)
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == [
        message.colour for message, _ in bench.answers]
    # Each of the three buffers makes room after its first frame.
    assert 1 <= bench.paths['cpu'] <= 3
    assert bench.paths['gpu'] == 12 - bench.paths['cpu']


@pytest.mark.parametrize('threads', [1, 3])
def test_regions_of_all_cameras_share_batches_and_keep_their_places(
        machine: World, threads: int) -> None:
    bench = Bench(machine, RegionFrames(
        RegionSettings(), lambda detections: detections, lambda image: 1), threads)
    random = np.random.default_rng(threads)
    for number in range(60):
        pixels = np.zeros((96, 128, 3), np.uint8)
        regions, wanted = [], []
        for place in range(int(random.integers(0, 9))):
            left, top = 32 * (place % 4), 32 * (place // 4)
            name = NAMES[random.integers(len(NAMES))]
            pixels[top:top + 32, left:left + 32] = COLOURS[name]
            box = at(left, top, 32, 32)
            if place == 3:
                # Rotated boxes are the CPU's.
                box = type(box)(box.center_x, box.center_y, box.width, box.height, np.pi)
            regions.append(Region(box, '', ''))
            wanted.append(name)
        message = Pair(image_message(pixels, wanted=wanted), regions)
        bench.pipeline.offer(CAMERAS[number % 4], message)
    bench.finish()
    assert len(bench.answers) == 60
    for message, answers in bench.answers:
        assert [one.predictions[0].label for one in answers] == message.image.wanted
    assert bench.paths['gpu'] > 40


def test_a_bad_region_frame_leaves_nothing_in_the_rows_of_the_next(
        machine: World, monkeypatch: Any) -> None:
    bench = Bench(machine, RegionFrames(
        RegionSettings(), lambda detections: detections, lambda image: 1), max_batch_size=8)
    offload, spoilt = RegionWork.offload, []

    def spoil(work: Any, index: int, rows: Any, place: int) -> str:
        path = offload(work, index, rows, place)
        if index == 2 and work._regions[0].class_id == 'bad':
            spoilt.append(place)
            raise FrameError('spoilt')
        return path
    monkeypatch.setattr(RegionWork, 'offload', spoil)
    for number in range(30):
        name, kind = NAMES[number % len(NAMES)], ('bad', 'rotated', 'upright')[number % 3]
        box = at(8, 8, 48, 48)
        if kind == 'rotated':
            box = type(box)(box.center_x, box.center_y, box.width, box.height, np.pi)
        message = image_message(np.full((64, 64, 3), COLOURS[name], np.uint8), wanted=name)
        bench.pipeline.offer('front', Pair(message, [Region(box, '', kind)] * 3))
    bench.finish()
    assert len(spoilt) == 10
    assert len(bench.answers) == 20
    for message, answers in bench.answers:
        assert [one.predictions[0].label for one in answers] == 3 * [message.image.wanted]


def test_a_picture_that_is_reduced_too_much_is_the_cpus(
        machine: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(grids, 'MAX_TAPS', 5)
    grids.plan_grid.cache_clear()
    bench = Bench(machine, WholeFrames('fast'))
    for name in NAMES:
        bench.pipeline.offer('left', image_message(
            np.full((150, 150, 3), COLOURS[name], np.uint8), colour=name))
    bench.finish()
    grids.plan_grid.cache_clear()
    assert [answer[0].label for _, answer in bench.answers] == NAMES
    assert bench.paths == {'cpu': len(NAMES)}


def test_what_may_be_depth_is_looked_at_by_the_cpu() -> None:
    said: list[str] = []
    converter = Converter(warn=said.append).device_picture
    depth = image_message(np.zeros((4, 4, 3), np.uint8), '16UC1')
    depth.data, depth.step = bytes(32), 8
    assert converter(depth) is None
    grey = image_message(np.zeros((4, 4, 3), np.uint8))
    raw = converter(grey)
    assert isinstance(raw, RawImage)
    assert raw.name == 'rgb8'
