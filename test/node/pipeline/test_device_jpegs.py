"""A pipeline whose jpegs are decoded on the device, by stand-ins of CUDA and nvImageCodec."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
from threading import Barrier, Event
from time import sleep
from types import SimpleNamespace
from typing import Any, Iterator

from bags.detection_messages import at
from models.tiny_model import COLOURS
import numpy as np
from PIL import Image
from pipelines.device_bench import Bench, CAMERAS, NAMES, Pair
import pytest
from resnet_trt_node.backends.cuda.jpeg import JpegDecoder
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.grid import plan_grid
from resnet_trt_node.imaging.on_device.jpeg_selection import select_for_device
from resnet_trt_node.node.pipeline.preprocess_worker import PreprocessWorker
from resnet_trt_node.node.pipeline.work import RegionFrames, WholeFrames
from resnet_trt_node.node.ros.conversion import Converter
from resnet_trt_node.regions.region import Region
from resnet_trt_node.regions.settings import RegionSettings
from stand_ins.device_machine import decoding_world
from stand_ins.tensorrt_machine import World

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures('either_caller')]


@pytest.fixture
def machine(monkeypatch: Any, tmp_path: Path) -> Iterator[World]:
    yield from decoding_world(monkeypatch, tmp_path)


def coded(colours: list[str], kind: str = 'jpeg', **fields: Any) -> Any:
    """Return a message whose columns of 64 pixels have these colours."""
    pixels = np.zeros((96, 64 * len(colours), 3), np.uint8)
    for place, name in enumerate(colours):
        pixels[:, 64 * place:64 * (place + 1)] = COLOURS[name]
    out = BytesIO()
    Image.fromarray(pixels).save(out, kind.upper(), **({'quality': 95} if kind == 'jpeg' else {}))
    return SimpleNamespace(format=kind, data=out.getvalue(), **fields)


@pytest.mark.parametrize('threads', [1, 3])
def test_each_jpeg_gets_its_own_answer_and_others_the_cpus(
        machine: World, threads: int) -> None:
    bench = Bench(machine, WholeFrames('fast'), threads, decode_jpeg=True)
    assert bench.pipeline.backend.info.details['decode'] == 'nvjpeg'
    wanted, cut = [], 0
    for number in range(120):
        name = NAMES[(5 * number) % len(NAMES)]
        message = coded([name], 'png' if number % 5 == 0 else 'jpeg', colour=name)
        if number % 11 == 7 and message.format == 'jpeg':
            message.data = message.data[:-30]
            cut += 1
        else:
            wanted.append(name)
        bench.pipeline.offer(CAMERAS[number % 4], message)
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == [
        message.colour for message, _ in bench.answers]
    assert sorted(message.colour for message, _ in bench.answers) == sorted(wanted)
    assert bench.pipeline.counters.total().dropped['malformed'] == cut == len(bench.bad)
    assert bench.paths == {'gpu': len(wanted) - 24, 'cpu': 24}
    assert len(set(machine.codec.streams)) == 3 + 1  # type: ignore[attr-defined]


def test_what_the_device_cannot_decode_is_the_cpus(machine: World) -> None:
    bench = Bench(machine, WholeFrames('exact'), decode_jpeg=True)
    codec: Any = machine
    codec.codec.broken = {0, 1, 2}
    for name in NAMES:
        bench.pipeline.offer('front', coded([name], colour=name))
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == NAMES
    said = [line for line in machine.said if 'the GPU does not' in line]
    # Each of the three buffers says it once.
    assert 1 <= len(said) <= 3
    assert said[0] == (
        'the CPU decodes a jpeg that the GPU does not: nvJPEG cannot decode it')
    # Each camera's way is told as it was.
    assert bench.pipeline.paths == {'front': ''}


def test_refused_jpegs_are_decoded_at_once_and_their_time_is_not_the_devices(
        machine: World) -> None:
    bench = Bench(machine, WholeFrames('exact'), decode_jpeg=True)
    codec: Any = machine
    codec.codec.broken = {0, 1, 2}
    together, inner = Barrier(3), bench.decode

    def decode(message: Any, reduced_to: Any = None) -> Any:
        if hasattr(message, 'together'):
            together.wait(60.0)
            for _ in range(20):
                sleep(0.001)
                bench.pipeline.check_backend(1e-6)
        return inner(message, reduced_to)
    bench.decode = decode
    # Nothing is granted to a call of the backend: any age would have it hang.
    bench.pipeline._worker.watchdog.slowest_ms = 0.0
    release, fill = Event(), PreprocessWorker._fill_batch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PreprocessWorker, '_fill_batch', lambda worker, batch: (
            release.wait(60.0), fill(worker, batch)))
        for camera, name in zip(CAMERAS, NAMES[:3]):
            bench.pipeline.offer(
                camera, coded([name], colour=name, together=True), preprocess=False)
        release.set()
        bench.finish()
    assert not bench.pipeline.backend_state.disabled
    assert [answer[0].label for _, answer in bench.answers] == NAMES[:3]


def test_whatever_the_cpu_raises_in_a_fall_back_is_one_bad_frame(machine: World) -> None:
    bench = Bench(machine, WholeFrames('exact'), decode_jpeg=True)
    codec: Any = machine
    codec.codec.broken = {0, 1, 2}
    decode = bench.decode

    def fail(message: Any, reduced_to: Any = None) -> Any:
        if message.colour == 'green':
            raise ValueError('what nobody foresaw')
        return decode(message, reduced_to)
    bench.decode = fail
    for name in NAMES:
        bench.pipeline.offer('front', coded([name], colour=name))
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == [
        name for name in NAMES if name != 'green']
    assert bench.bad == ["ValueError('what nobody foresaw')"]


def test_a_frame_that_the_cpu_refuses_too_is_counted_as_malformed(machine: World) -> None:
    bench = Bench(machine, WholeFrames('exact'), decode_jpeg=True)
    codec: Any = machine
    codec.codec.broken = {0, 1, 2}
    decode = bench.converter.to_frame

    def refuse(message: Any, reduced_to: Any = None) -> Any:
        if message.colour == 'red':
            message = SimpleNamespace(format='jpeg', data=b'\xff\xd8broken', colour='red')
        return decode(message, reduced_to)
    bench.decode = refuse
    for name in NAMES:
        bench.pipeline.offer('front', coded([name], colour=name))
    bench.finish()
    assert [answer[0].label for _, answer in bench.answers] == [
        name for name in NAMES if name != 'red']
    assert bench.pipeline.counters.total().dropped['malformed'] == 1
    assert len(bench.bad) == 1
    assert 'jpeg' in bench.bad[0]


def test_a_finished_batch_leaves_its_memory_to_the_other_buffers(
        machine: World, monkeypatch: Any) -> None:
    data = [coded([name]).data for name in NAMES[:4]]
    # For the pictures of one batch and one more; there are three buffers.
    monkeypatch.setitem(JpegDecoder.__init__.__kwdefaults__, 'max_device_bytes', 5 * 96 * 64 * 3)
    with machine.start(
            max_batch_size=4, num_buffers=3, preprocess='gpu', decode_jpeg=True) as backend:
        pictures = [EncodedPicture(one, select_for_device(one, 1 << 30)) for one in data]
        grid = plan_grid(backend.spec.resize, 96, 64)
        for turn in range(9):
            rows = backend.device_rows(turn % 3)
            rows.clear()
            for place, picture in enumerate(pictures):
                rows.put_encoded(place, picture, grid, lambda row: row.fill(0))
            best = backend.infer(4, turn % 3).argmax(axis=1)
            assert backend.fall_backs(turn % 3) == {}
            assert [backend.spec.labels[place] for place in best] == NAMES[:4]


def test_a_second_attempt_answers_nothing_that_nobody_could_decode(machine: World) -> None:
    world: Any = machine
    with machine.start(max_batch_size=2, preprocess='gpu', decode_jpeg=True) as backend:
        world.codec.broken = {0, 1}
        rows = backend.device_rows()
        picture, fall_backs = coded(['blue']).data, []
        header = select_for_device(picture, 1 << 30)
        grid = plan_grid(backend.spec.resize, header.height, header.width)

        def refuse(row: np.ndarray) -> None:
            fall_backs.append('refused')
            raise FrameError('nobody can')
        rows.put_encoded(0, EncodedPicture(picture, header), grid, refuse)
        rows.put_encoded(
            1, EncodedPicture(picture, header), grid, lambda row: row.fill(255))
        for _ in range(2):
            answer = backend.infer(2)
            assert [(place, error and str(error)) for place, error in sorted(
                backend.fall_backs().items())] == [(0, 'nobody can'), (1, None)]
            assert backend.spec.labels[answer[1].argmax()] == 'white'
        assert fall_backs == ['refused']
        rows.clear()
        assert backend.fall_backs() == {}


def test_regions_of_a_jpeg_are_cropped_on_the_device(machine: World) -> None:
    bench = Bench(machine, RegionFrames(
        RegionSettings(), lambda detections: detections, lambda image: 1), decode_jpeg=True)
    for number in range(10):
        colours = [NAMES[(number + place) % len(NAMES)] for place in range(5)]
        bench.pipeline.offer(CAMERAS[number % 4], Pair(
            coded(colours, wanted=colours),
            [Region(at(64 * place + 8, 8, 48, 80), '', '') for place in range(5)]))
    bench.finish()
    assert len(bench.answers) == 10
    for message, answers in bench.answers:
        assert [one.predictions[0].label for one in answers] == message.image.wanted
    assert bench.paths == {'gpu': 10}


@pytest.mark.parametrize('whole', [True, False])
def test_what_was_begun_with_a_decoder_is_the_cpus_where_the_next_backend_has_none(
        machine: World, whole: bool) -> None:
    bench_input: Any = WholeFrames('exact') if whole else RegionFrames(
        RegionSettings(), lambda detections: detections, lambda image: 1)
    image, converter = coded(['green']), Converter()
    with machine.start(preprocess='gpu') as backend:
        bench_input.use_model(backend.spec)
        rows = backend.device_rows()
        assert not rows.decodes
        work = bench_input.begin(
            'front', image if whole else Pair(image, [Region(at(8, 8, 48, 80), '', '')]),
            converter.to_frame, partial(converter.device_picture, decodes=True))
        assert work.offload(0, rows, 0) == ''
        work.fill(0, backend.buffer()[0])
        assert backend.spec.labels[backend.infer(1)[0].argmax()] == 'green'


def test_without_the_codec_jpegs_are_decoded_by_the_cpu(machine: World) -> None:
    world: Any = machine
    world.codec.failing['opening'] = RuntimeError('no CUDA driver')
    bench = Bench(machine, WholeFrames('fast'), decode_jpeg=True, preprocess='auto')
    bench.pipeline.offer('front', coded(['blue'], colour='blue'))
    bench.finish()
    assert bench.answers[0][1][0].label == 'blue'
    assert bench.paths == {'cpu': 1}
    assert any(line.startswith('pictures are decoded on the CPU: nvimgcodec cannot decode')
               for line in machine.said)
