"""Pictures that a device decodes, converts and resizes for the command lines; stand-ins of it."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
import gc
from io import BytesIO
from pathlib import Path
import pickle
from types import SimpleNamespace
from typing import Any, Iterator

from models.tiny_model import colour_picture, COLOURS
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.backends.classifier import Classifier
from resnet_trt_node.backends.cuda.jpeg import JpegDecoder
from resnet_trt_node.backends.simulated import SimulatedBackend, SimulatedOptions
from resnet_trt_node.errors import FrameError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.frame import Frame
from resnet_trt_node.imaging.on_device.encoded import EncodedPicture
from resnet_trt_node.imaging.on_device.pictures import picture_of_message
from stand_ins.device_machine import decoding_world
from stand_ins.kernel_on_cpu import image_message
from stand_ins.tensorrt_machine import World

NAMES = list(COLOURS)


@pytest.fixture
def machine(monkeypatch: Any, tmp_path: Path) -> Iterator[World]:
    """Return a machine whose GPU resizes and decodes jpegs."""
    yield from decoding_world(monkeypatch, tmp_path)


def coded(name: str, kind: str = 'jpeg') -> Any:
    """Return a CompressedImage of one colour."""
    out = BytesIO()
    Image.fromarray(colour_picture(name, 60, 80)).save(out, kind.upper())
    return SimpleNamespace(format=kind, data=out.getvalue(), name=name)


def raw(name: str) -> Any:
    """Return an Image of one colour."""
    message = image_message(colour_picture(name, 60, 80), 'rgb8')
    message.name = name
    return message


def mixed(count: int) -> list[Any]:
    """Return messages of all kinds; every ninth is a jpeg that was cut off."""
    messages = []
    for number in range(count):
        name = NAMES[(5 * number) % len(NAMES)]
        kind = 'png' if number % 4 == 1 else 'jpeg'
        message = raw(name) if number % 3 == 0 else coded(name, kind)
        if number % 9 == 2:
            message = coded(name)
            message.data = message.data[:-30]
        messages.append(message)
    return messages


def picture(message: Any, decodes: bool) -> Any:
    return picture_of_message(message, decodes)


def answers(backend: Any, messages: list[Any]) -> tuple[list[str], list[tuple[Any, str]]]:
    """Return the best class of each usable message, and why others have none."""
    bad: list[tuple[Any, str]] = []
    found = Classifier(backend, top_k=1).classify(
        messages, decode_message, lambda item, error: bad.append((item.name, str(error))),
        lambda item: item.name, picture)
    pairs = [(item, one[0].label) for item, one in found]
    assert [item.name for item, _ in pairs] == [label for _, label in pairs]
    return [label for _, label in pairs], bad


@pytest.mark.parametrize('buffers', [1, 2, 3])
def test_all_kinds_get_the_cpus_answers_and_errors(machine: Any, buffers: int) -> None:
    messages = mixed(50)
    with machine.start(max_batch_size=4, num_buffers=buffers, preprocess='gpu',
                       decode_jpeg=True) as backend:
        on_gpu = answers(backend, messages)
    decoded = len(machine.codec.streams)
    assert decoded > 10
    with machine.start(max_batch_size=4, num_buffers=buffers) as backend:
        on_cpu = answers(backend, messages)
    assert len(machine.codec.streams) == decoded
    assert on_gpu == on_cpu
    assert len(on_gpu[1]) == 6
    assert len(on_gpu[0]) == 44


def test_what_the_device_refuses_is_the_cpus_or_a_frame_error(machine: Any) -> None:
    messages = [coded(name) for name in ('red', 'blue', 'green', 'cyan')]
    bad: list[tuple[Any, FrameError]] = []
    loaded = []

    def load(message: Any) -> Any:
        loaded.append(message.name)
        if message.name == 'blue':
            raise FrameError('broken for both')
        return decode_message(message)
    with machine.start(max_batch_size=4, preprocess='gpu', decode_jpeg=True) as backend:
        machine.codec.broken = {1, 2}
        found = list(Classifier(backend, top_k=1).classify(
            messages, load, lambda item, error: bad.append((item.name, error)),
            lambda item: 'another name', picture))
    assert [(item.name, one[0].label) for item, one in found] == [
        ('red', 'red'), ('green', 'green'), ('cyan', 'cyan')]
    assert [(name, type(error), str(error)) for name, error in bad] == [
        ('blue', FrameError, 'broken for both')]
    assert sorted(loaded) == ['blue', 'green']


def test_without_a_decoder_raw_images_alone_are_the_gpus(machine: Any) -> None:
    asked: list[bool] = []

    def noted(message: Any, decodes: bool) -> Any:
        asked.append(decodes)
        return picture_of_message(message, decodes)
    with machine.start(max_batch_size=4, preprocess='gpu') as backend:
        found = list(Classifier(backend, top_k=1).classify(
            [coded('red'), raw('blue')], decode_message, picture_of=noted))
    assert [one[0].label for _, one in found] == ['red', 'blue']
    assert asked == [False, False]
    assert machine.codec.streams == []


def test_a_batch_is_submitted_before_the_one_ahead_is_collected(machine: Any) -> None:
    order = []
    with machine.start(max_batch_size=2, num_buffers=2, preprocess='gpu',
                       decode_jpeg=True) as backend:
        submit, collect = backend.submit, backend.collect

        def submitted(size: int, index: int) -> None:
            order.append(f'submit {index}')
            submit(size, index)

        def collected(index: int) -> Any:
            order.append(f'collect {index}')
            return collect(index)
        backend.submit, backend.collect = submitted, collected
        answers(backend, [coded(NAMES[number % 5]) for number in range(7)])
    assert order == ['submit 0', 'submit 1', 'collect 0', 'submit 0', 'collect 1', 'submit 1',
                     'collect 0', 'collect 1']


@pytest.mark.parametrize('buffers', [1, 2])
def test_a_batch_goes_when_the_device_has_no_room_for_more(
        machine: Any, monkeypatch: pytest.MonkeyPatch, buffers: int) -> None:
    monkeypatch.setattr(
        'resnet_trt_node.backends.cuda.jpeg.JpegDecoder.__init__.__kwdefaults__',
        {**JpegDecoder.__init__.__kwdefaults__, 'max_device_bytes': buffers * 3 * 3 * 60 * 80})
    sizes = []
    with machine.start(max_batch_size=8, num_buffers=buffers, preprocess='gpu',
                       decode_jpeg=True) as backend:
        submit = backend.submit
        backend.submit = lambda size, index: (sizes.append(size), submit(size, index))
        collect, refused = backend.collect, []

        def collected(index: int) -> Any:
            refused.extend(backend.fall_backs(index))
            return collect(index)
        backend.collect = collected
        found, bad = answers(backend, [coded(NAMES[number % 5]) for number in range(20)])
    assert (len(found), bad, refused) == (20, [], [])
    # Room for a third one is left, which may be larger.
    assert sizes == [3] * 6 + [2]


def test_an_error_that_nobody_foresaw_ends_the_command_as_on_the_cpu(machine: Any) -> None:
    def load(message: Any) -> Any:
        raise MemoryError('no more')
    with machine.start(max_batch_size=4, preprocess='gpu', decode_jpeg=True) as backend:
        machine.codec.broken = {0}
        with pytest.raises(MemoryError, match='no more'):
            list(Classifier(backend).classify(
                [coded('red')], load, lambda item, error: None, picture_of=picture))
    # Its traceback and what it is raised from hold each other.
    gc.collect()


def test_at_once_a_batch_is_answered_before_the_next_is_filled() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(6):
            read.append(number)
            yield number
    with SimulatedBackend('', SimulatedOptions(max_batch_size=2, simulated_ms=0)) as backend:
        assert backend.asynchronous
        for at_once, ahead in ((True, [0, 1]), (False, [0, 1, 2, 3])):
            read.clear()
            found = Classifier(backend, at_once=at_once).probabilities(
                items(), lambda item: Frame(np.full((4, 5, 3), (item, 0, 0), np.uint8), 'rgb'))
            assert next(found)[0] == 0
            assert read == ahead


class Handle:
    """Ray's handle of an actor that lives here; what it is sent is pickled, as Ray does."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor
        self.sent: list[Any] = []
        self.infer = SimpleNamespace(remote=self._infer)

    def _infer(self, model: Any, batch: Any) -> Any:
        batch = pickle.loads(pickle.dumps(batch, protocol=5))
        batch.pixels.setflags(write=False)
        self.sent.append(batch)
        answer = self._actor.infer(model, batch)
        answer.probabilities.setflags(write=False)
        return answer


@pytest.fixture
def fleet(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the modules of the actor and of its reader, which work in this process."""
    pytest.importorskip('ray', reason='Ray is missing: pip install .[fleet]')
    from resnet_trt_node.fleet import actor, remote
    for module in (actor, remote):
        monkeypatch.setattr(module.ray, 'get', lambda one: one)
    return actor, remote


@pytest.mark.slow
def test_a_fleets_jpegs_are_decoded_where_the_model_is(
        machine: Any, fleet: Any) -> None:
    actor, remote = fleet
    model = (machine.model.read_bytes(),)
    held = actor.ModelActor('colours.onnx', {
        'name': machine.name, 'max_batch_size': 4, 'engine_dir': machine.engines,
        'preprocess': 'gpu', 'decode_jpeg': True})
    handle = Handle(held)
    messages = mixed(50)
    spec, info = held.describe(model)
    with remote.RemoteBackend(handle, model, spec, info, 4) as backend:
        assert backend.device_rows().decodes
        on_gpu = answers(backend, messages)
    jpegs = sum(len(batch.jobs) for batch in handle.sent)
    # Six are cut off, which their header tells.
    assert jpegs == sum(getattr(one, 'format', '') == 'jpeg' for one in messages) - 6
    # What the device refuses, its reader decodes.
    machine.codec.broken, before = {0, 1}, len(handle.sent)
    with remote.RemoteBackend(handle, model, spec, info, 4) as backend:
        assert answers(backend, messages) == on_gpu
    assert len(handle.sent) - before > before
    held._open(model).close()
    held = actor.ModelActor('colours.onnx', {
        'name': machine.name, 'max_batch_size': 4, 'engine_dir': machine.engines})
    spec, info = held.describe(model)
    with remote.RemoteBackend(Handle(held), model, spec, info, 4) as backend:
        assert backend.device_rows() is None
        assert answers(backend, messages) == on_gpu
    held._open(model).close()


@pytest.mark.slow
def test_an_actor_that_lost_its_decoder_leaves_jpegs_to_the_reader(
        machine: Any, fleet: Any) -> None:
    actor, remote = fleet
    model = (machine.model.read_bytes(),)
    options = {'name': machine.name, 'max_batch_size': 4, 'engine_dir': machine.engines}
    for less in ({}, {'preprocess': 'gpu'}):
        held = actor.ModelActor('colours.onnx', {**options, **less})
        spec, info = held.describe(model)
        info.details['decode'] = 'nvjpeg'
        handle = Handle(held)
        with remote.RemoteBackend(handle, model, spec, info, 4) as backend:
            found, bad = answers(backend, [coded(NAMES[number % 5]) for number in range(14)])
        assert found == [NAMES[number % 5] for number in range(14)]
        assert bad == []
        # Two batches of jpegs are on their way before the first answer, later ones are pixels.
        assert [(batch.size, len(batch.jobs)) for batch in handle.sent] == [
            (4, 4), (4, 4), (4, 0), (4, 0), (4, 0), (2, 0)]
        held._open(model).close()
    assert machine.codec.streams == []


def test_one_picture_of_several_rows_is_sent_once() -> None:
    pytest.importorskip('ray', reason='Ray is missing: pip install .[fleet]')
    from resnet_trt_node.fleet.batch import MOST_BYTES, RemoteRows
    from resnet_trt_node.imaging.on_device.grid import plan_grid
    from resnet_trt_node.contract.spec import ResizeRule
    buffer = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    rows = RemoteRows(buffer)
    first, second = (picture_of_message(coded(name), True) for name in ('red', 'blue'))
    grid = plan_grid(ResizeRule(None, 4, 4), 60, 80)
    for place, one in ((0, first), (2, second), (3, first)):
        rows.put_encoded(place, one, grid, partial(np.copyto, src=7))
    rows.forget(2)
    batch = rows.batch(4)
    assert [(place, number) for place, number, _ in batch.jobs] == [(0, 0), (3, 0)]
    assert [bytes(one.data) for one in batch.pictures] == [first.data]
    assert list(batch.places) == [1, 2]
    assert np.array_equal(batch.pixels, buffer[[1, 2]])
    assert rows.decode(3) is None
    assert not rows.is_full
    rows.put_encoded(1, EncodedPicture(bytes(MOST_BYTES), first.header), grid, print)
    assert rows.is_full
    rows.clear()
    rows.put_encoded(0, EncodedPicture(b'', replace(first.header, width=2**14, height=2**14)),
                     grid, print)
    assert rows.is_full
    assert (buffer[3] == 7).all()
