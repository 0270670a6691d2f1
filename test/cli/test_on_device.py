"""Commands on a machine whose GPU decodes and resizes: what they print is what the CPU gives."""

from __future__ import annotations

from collections import Counter
from io import BytesIO
from pathlib import Path
from time import sleep
from typing import Any, Iterator
from zipfile import ZipFile

from bags.detection_messages import at, detections_of
from bags.image_bags import BagWriter
from models.tiny_model import colour_picture, COLOURS
from PIL import Image
import pytest
from resnet_trt_node.backends.base import Backend
from resnet_trt_node.backends.cuda.jpeg import JpegDecoder
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.cli.support.sources import Source
from resnet_trt_node.datasets.pictures import decode_picture
from resnet_trt_node.errors import FrameError
from resnet_trt_node.regions.region import Region
from resnet_trt_node.regular_file import read_regular
from stand_ins.device_machine import decoding_world
from stand_ins.tensorrt_machine import World

NAMES = list(COLOURS)


@pytest.fixture
def machine(monkeypatch: Any, tmp_path: Path) -> Iterator[World]:
    """Return a machine whose GPU resizes and decodes jpegs."""
    yield from decoding_world(monkeypatch, tmp_path)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Return a folder of classes with jpegs, one of them turned, and pngs."""
    folder = tmp_path / 'photographs'
    for number in range(24):
        name = NAMES[number % len(NAMES)]
        path = folder / name / f'{number:02d}.{"png" if number % 6 == 5 else "jpg"}'
        path.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[0x112] = 6 if number == 3 else 1
        Image.fromarray(colour_picture(name, 60, 80)).save(path, exif=exif)
    return folder


def jpeg(name: str) -> bytes:
    """Return a jpeg whose left half has a colour, while the right one is black."""
    picture = colour_picture('black', 96, 128)
    picture[:, :64] = COLOURS[name]
    out = BytesIO()
    Image.fromarray(picture).save(out, 'JPEG', quality=95)
    return out.getvalue()


def options(machine: Any, preprocess: str) -> list[Any]:
    """Return the options that run a command there."""
    return ['--backend', machine.name, '--engine-dir', machine.engines, '--preprocess',
            preprocess, '--json']


def both(resnet_trt: Any, machine: Any, *words: Any) -> tuple[Any, Any]:
    """Return the documents of a command on the GPU and on the CPU."""
    documents = []
    for preprocess in ('gpu', 'cpu'):
        before = len(machine.codec.streams)
        outcome = resnet_trt(*words, *options(machine, preprocess))
        assert outcome.code == 0, outcome.err
        assert (len(machine.codec.streams) > before) == (preprocess == 'gpu')
        documents.append(outcome.document)
    return documents[0], documents[1]


def names(document: Any) -> list[tuple[str, str]]:
    return [(one['source'], one['predictions'][0]['label']) for one in document['results']]


@pytest.mark.parametrize('zipped', [False, True])
def test_classify_decodes_files_on_the_gpu(
        resnet_trt: Any, machine: Any, photographs: Path, tmp_path: Path, zipped: bool) -> None:
    cut = photographs / 'cut.jpg'
    cut.write_bytes(jpeg('red')[:-40])
    given = photographs
    if zipped:
        given = tmp_path / 'photographs.zip'
        with ZipFile(given, 'w') as archive:
            for path in sorted(photographs.rglob('*.*')):
                archive.write(path, path.relative_to(photographs))
    on_gpu, on_cpu = both(
        resnet_trt, machine, 'classify', machine.model, given, '--skip-bad', '--top-k', 1)
    assert names(on_gpu) == names(on_cpu)
    assert [Path(source).parent.name for source, _ in names(on_gpu)] == [
        label for _, label in names(on_gpu)]
    assert len(names(on_gpu)) == 24
    assert on_gpu['failures'] == on_cpu['failures']
    assert [Path(one['source']).name for one in on_gpu['failures']] == ['cut.jpg']


def test_what_the_gpu_refuses_and_the_cpu_cannot_decode_is_a_failure(
        resnet_trt: Any, machine: Any, photographs: Path) -> None:
    # Its tables are missing, which only who decodes it finds out.
    bad = photographs / 'red' / 'bad.jpg'
    data = jpeg('red')
    start = data.index(b'\xff\xdb')
    length = int.from_bytes(data[start + 2:start + 4], 'big')
    bad.write_bytes(data[:start] + data[start + 2 + length:])
    on_gpu, on_cpu = both(
        resnet_trt, machine, 'classify', machine.model, photographs, '--skip-bad', '--top-k', 1)
    assert names(on_gpu) == names(on_cpu)
    assert on_gpu['failures'] == on_cpu['failures']
    assert [Path(one['source']).name for one in on_gpu['failures']] == ['bad.jpg']
    told = [resnet_trt('classify', machine.model, bad, *options(machine, one)[:-1])
            for one in ('gpu', 'cpu')]
    assert [one.code for one in told] == [2, 2]
    assert told[0].err.splitlines()[-1] == told[1].err.splitlines()[-1]


def test_annotated_pictures_are_drawn_all_the_same(
        resnet_trt: Any, machine: Any, photographs: Path, tmp_path: Path) -> None:
    drawn = {}
    for preprocess in ('gpu', 'cpu'):
        folder = tmp_path / preprocess
        assert resnet_trt('classify', machine.model, photographs, '--annotate', folder,
                          *options(machine, preprocess)).code == 0
        drawn[preprocess] = sorted(path.name for path in folder.iterdir())
    assert drawn['gpu'] == drawn['cpu']
    assert len(drawn['gpu']) == 24


def test_classify_takes_bags(resnet_trt: Any, machine: Any, tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with BagWriter(path) as bag:
        for number in range(20):
            name = NAMES[number % len(NAMES)]
            bag.write_image(
                '/raw', colour_picture(name, 60, 80), 10**9 + number, 'raw', 'rgb8')
            data = jpeg(name) if number != 7 else jpeg(name)[:-40]
            bag.write_compressed('/jpeg', data, 'jpeg', 10**9 + number, 'jpeg')
    on_gpu, on_cpu = both(resnet_trt, machine, 'classify', machine.model, path, '--top-k', 1)
    for document in (on_gpu, on_cpu):
        for one in document['results']:
            one['predictions'][0]['score'] = round(one['predictions'][0]['score'], 1)
    assert on_gpu['results'] == on_cpu['results']
    assert on_gpu['failures'] == on_cpu['failures']
    assert (len(on_gpu['results']), len(on_gpu['failures'])) == (39, 1)


def test_evaluate_counts_the_same(resnet_trt: Any, machine: Any, photographs: Path) -> None:
    on_gpu, on_cpu = both(
        resnet_trt, machine, 'evaluate', machine.model, '--images', photographs)
    assert on_gpu['count'] == on_cpu['count'] == 24
    assert on_gpu['top1'] == on_cpu['top1']
    assert on_gpu['top1']['hits'] == 24
    assert on_gpu['confusion'] == on_cpu['confusion']


def test_a_picture_that_cannot_be_drawn_on_costs_no_other(
        resnet_trt: Any, machine: Any, photographs: Path, tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Source) -> Any:
        if self.path.name == '07.jpg':
            raise FrameError(f'{self.path}: gone')
        return load(self)
    load = Source.load
    monkeypatch.setattr(Source, 'load', fail)
    outcome = resnet_trt('classify', machine.model, photographs, '--annotate', tmp_path / 'seen',
                         *options(machine, 'gpu'))
    assert outcome.code == 0
    drawn = {Path(one['source']).name: one['annotated'] for one in outcome.document['results']}
    assert len(drawn) == 24
    assert [name for name, path in drawn.items() if path is None] == ['07.jpg']
    assert f'not drawn: {photographs / NAMES[7] / "07.jpg"}' in outcome.err


def test_no_file_is_read_twice(
        resnet_trt: Any, machine: Any, photographs: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()

    def counted(path: Any, most: int) -> bytes:
        read[Path(path).name] += 1
        return read_regular(path, most)
    monkeypatch.setattr('resnet_trt_node.datasets.store.read_regular', counted)
    monkeypatch.setattr('resnet_trt_node.datasets.pictures.read_regular', counted)
    for words in (['classify', machine.model, photographs],
                  ['classify', machine.model, *sorted(photographs.rglob('*.*'))],
                  ['evaluate', machine.model, '--images', photographs],
                  ['evaluate', machine.model, '--images', photographs, '--compare',
                   machine.model]):
        read.clear()
        # What the device refuses is decoded from the same bytes.
        machine.codec.broken = {1}
        assert resnet_trt(*words, *options(machine, 'gpu')).code == 0
        assert (len(read), set(read.values())) == (24, {1}), words


def test_evaluate_fills_a_batch_while_another_is_inferred(
        resnet_trt: Any, machine: Any, photographs: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    order = []

    def noted(call: Any) -> Any:
        def note(self: Any, *words: Any) -> Any:
            order.append(f'{call.__name__[0]}{words[-1]}')
            return call(self, *words)
        return note
    for call in (Backend.submit, Backend.collect):
        monkeypatch.setattr(Backend, call.__name__, noted(call))
    outcome = resnet_trt(
        'evaluate', machine.model, '--images', photographs, *options(machine, 'gpu'))
    assert outcome.code == 0
    assert order == ['s0', 's1', 'c0', 's0', 'c1', 'c0']
    assert outcome.document['backend']['decode'] == 'nvjpeg'


def test_what_several_threads_decode_is_no_share_of_the_time(
        resnet_trt: Any, machine: Any, photographs: Path,
        monkeypatch: pytest.MonkeyPatch) -> None:
    machine.codec.broken = set(range(1, 8))
    monkeypatch.setattr(
        'resnet_trt_node.datasets.store.decode_picture',
        lambda *words: (sleep(0.05), decode_picture(*words))[1])
    outcome = resnet_trt(
        'evaluate', machine.model, '--images', photographs, *options(machine, 'gpu'))
    assert outcome.code == 0
    assert 0 < outcome.document['decode_share'] < 0.9


def test_crops_that_the_gpu_refuses_decode_their_picture_once(
        resnet_trt: Any, machine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / 'scenes'
    folder.mkdir()
    (folder / 'a.jpg').write_bytes(jpeg('red'))
    table = tmp_path / 'crops.tsv'
    table.write_text('file\tcenter_x\tcenter_y\twidth\theight\tclass\n'
                     + 'a.jpg\t32\t48\t50\t50\tred\n' * 8)
    decode = JpegDecoder.decode_selected

    def refuse(self: Any, pictures: Any, *words: Any) -> Any:
        # When it is opened it tries one of its own.
        return ['refused'] if bytes(pictures[0]) == jpeg('red') else decode(self, pictures, *words)
    monkeypatch.setattr(JpegDecoder, 'decode_selected', refuse)
    decoded = []
    monkeypatch.setattr(
        'resnet_trt_node.datasets.store.decode_picture',
        lambda *words: (decoded.append(words[1]), decode_picture(*words))[1])
    outcome = resnet_trt('evaluate', machine.model, '--images', folder, '--crops', table,
                         *options(machine, 'gpu'))
    assert outcome.document['top1']['hits'] == 8
    assert len(decoded) == 1


def test_two_models_that_are_compared_decode_on_the_gpu_both(
        resnet_trt: Any, machine: Any, photographs: Path) -> None:
    outcome = resnet_trt(
        'evaluate', machine.model, '--images', photographs, '--compare', machine.model,
        *options(machine, 'gpu'))
    assert outcome.code == 0, outcome.err
    # Each tries one jpeg when it is opened, then come three batches.
    assert len(machine.codec.streams) == 2 * (1 + 3)


def test_evaluate_crops_where_the_picture_is_decoded(
        resnet_trt: Any, machine: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'scenes'
    folder.mkdir()
    table = tmp_path / 'crops.tsv'
    lines = ['file\tcenter_x\tcenter_y\twidth\theight\ttheta\tclass']
    for name in NAMES:
        (folder / f'{name}.jpg').write_bytes(jpeg(name))
        lines += [f'{name}.jpg\t32\t48\t50\t50\t0\t{name}',
                  f'{name}.jpg\t96\t48\t50\t50\t0\tblack',
                  # The GPU does not turn.
                  f'{name}.jpg\t32\t48\t30\t30\t0.5\t{name}',
                  f'{name}.jpg\t500\t48\t50\t50\t0\t{name}']
    table.write_text('\n'.join(lines) + '\n')
    on_gpu, on_cpu = both(
        resnet_trt, machine, 'evaluate', machine.model, '--images', folder, '--crops', table)
    assert on_gpu['count'] == on_cpu['count'] == 3 * len(NAMES)
    assert on_gpu['top1'] == on_cpu['top1']
    assert on_gpu['top1']['hits'] == 3 * len(NAMES)
    assert on_gpu['unusable'] == on_cpu['unusable']
    assert len(on_gpu['unusable']) == len(NAMES)


def test_regions_of_bags_are_cropped_on_the_gpu(
        resnet_trt: Any, machine: Any, tmp_path: Path) -> None:
    path = tmp_path / 'drive'
    with BagWriter(path) as bag:
        for number in range(12):
            stamp = 10**9 + number * 10**8
            name = NAMES[number % len(NAMES)]
            data = jpeg(name) if number != 5 else jpeg(name)[:-40]
            bag.write_compressed('/jpeg', data, 'jpeg', stamp, 'jpeg')
            bag.write('/boxes', DETECTIONS, detections_of(
                stamp, Region(at(7, 23, 50, 50)), Region(at(71, 23, 50, 50))), stamp)
    on_gpu, on_cpu = both(
        resnet_trt, machine, 'classify', machine.model, path, '--topic', '/jpeg', '--regions',
        '/boxes', '--top-k', 1)
    for document in (on_gpu, on_cpu):
        assert len(document['results']) == 11
        for one in document['results']:
            for region in one['regions']:
                region['predictions'][0]['score'] = round(region['predictions'][0]['score'], 1)
    assert on_gpu['results'] == on_cpu['results']
    assert on_gpu['failures'] == on_cpu['failures']
    assert on_gpu['outcomes'] == on_cpu['outcomes']


def test_a_backend_without_a_gpu_refuses_to_preprocess_there(
        resnet_trt: Any, colour_model: Path, photographs: Path) -> None:
    line = resnet_trt.refused(
        'classify', colour_model, photographs, '--backend', 'onnxruntime', '--preprocess', 'gpu')
    assert 'preprocess is gpu, which onnxruntime does not use' in line
