"""Answers and times of another run in a file: the same answers, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
import json
import platform
import random
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from resnet_trt_node.compare.choice import check_used, open_subject, parse_names
from resnet_trt_node.compare.latency import Plan
from resnet_trt_node.compare.report import latency_rows, markdown
from resnet_trt_node.compare.saved import check_size, read_saved, read_saved_frames
from resnet_trt_node.compare.session import Session
from resnet_trt_node.contract.model_file import file_sha256, read_model_spec
from resnet_trt_node.errors import DataError, ResnetTrtError, UsageError
from stand_ins.fake_subject import OPTIONS

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow

PLAN = Plan((1, 2), rounds=3, iterations=6, warm_up=1, settle_ms=0)


@pytest.fixture(scope='module')
def saved(model, frames, tmp_path_factory):
    path = tmp_path_factory.mktemp('saved') / 'other.npz'
    Session([model], ('onnxruntime',), OPTIONS, PLAN).save(frames, path)
    return path


@pytest.fixture
def read(model, frames):
    def read_path(path, frames=frames, batch_sizes=(1, 2)):
        return read_saved(
            path, {file_sha256(model): read_model_spec(model)}, frames, batch_sizes)
    return read_path


def test_a_file_answers_like_the_backend(saved, read, subject, frames):
    one, = read(saved)
    assert (one.spec, one.info, one.python) == (
        subject.spec, subject.info, platform.python_version())
    np.testing.assert_allclose(one.answers, subject.infer(frames), atol=1e-6)
    assert {size: timings.spent_ns > 0 for size, timings in one.timings.items()} == {
        1: True, 2: True}


def test_it_is_compared_and_marked(saved, model, frames):
    document = Session(
        [model], ('onnxruntime', 'polygraphy:onnxrt'), OPTIONS, PLAN, saved=[saved]).run(frames)
    assert [row['label'] for row in document['rows']] == [
        'onnxruntime', 'polygraphy:onnxrt', 'onnxruntime (other.npz)']
    assert document['accuracy']['pairs']['onnxruntime (other.npz)']['agrees']
    marked = [cells[-1] for cells in latency_rows(document) if '.npz' in cells[1]]
    assert len(marked) == 2
    assert all('another run' in cell for cell in marked)
    assert 'another run' in markdown({**document, 'source': 'x', 'command': 'y'})
    json.dumps(document)


def test_weights_that_differ_are_found_in_a_file(model, perturbed, frames, tmp_path):
    session = Session([model, perturbed], ('onnxruntime',), OPTIONS, PLAN)
    session.save(frames, tmp_path / 'two.npz')
    document = Session(
        [model, perturbed], ('onnxruntime',), OPTIONS, PLAN,
        saved=[tmp_path / 'two.npz']).run(frames)
    pairs = document['accuracy']['pairs']
    assert {label: pair['agrees'] for label, pair in pairs.items() if '.npz' in label} == {
        'colours onnxruntime (two.npz)': True, 'perturbed onnxruntime (two.npz)': False}


def test_saving_needs_no_polygraphy(model, frames, tmp_path, monkeypatch):
    def missing():
        raise AssertionError('not to be imported')
    monkeypatch.setattr('resnet_trt_node.compare.session.import_runners', missing)
    Session([model], ('onnxruntime',), OPTIONS, PLAN).save(frames, tmp_path / 'out.npz')
    assert [path.name for path in tmp_path.iterdir()] == ['out.npz']


def test_frames_travel(saved, model, frames):
    spec = read_model_spec(model)
    np.testing.assert_array_equal(read_saved_frames(saved, spec), frames)
    with pytest.raises(UsageError, match='limit'):
        check_size(np.broadcast_to(np.uint8(0), (100_000, 224, 224, 3)))


def test_another_run_of_other_things_is_refused(saved, read, perturbed, frames):
    with pytest.raises(UsageError, match='other frames'):
        read(saved, frames[:9])
    with pytest.raises(UsageError, match='batch sizes'):
        read(saved, batch_sizes=(1, 8))
    with pytest.raises(UsageError, match='another model'):
        read_saved(saved, {file_sha256(perturbed): read_model_spec(perturbed)}, frames, (1,))


def changed(path, place, **arrays):
    """Return a copy of a file with other arrays; None drops one."""
    with np.load(path) as file:
        kept = {**file, **arrays}
    np.savez(place, **{name: array for name, array in kept.items() if array is not None})
    return place


def document_of(path, **changes):
    with np.load(path) as file:
        document = json.loads(file['document'].tobytes())
    return np.frombuffer(json.dumps({**document, **changes}).encode(), np.uint8)


@dataclass
class Evil:
    """Would run code when it is unpickled."""

    ran: list = field(default_factory=list)

    def __reduce__(self):
        return (pytest.fail, ('it was unpickled',))


def test_what_is_no_such_file_is_refused_in_one_line(saved, read, tmp_path, monkeypatch):
    monkeypatch.setattr('resnet_trt_node.compare.saved.MAX_BYTES', 4 << 20)
    with np.load(saved) as file:
        answers, times = file['answers_0'], file['times_0_1']
    bomb = tmp_path / 'bomb.npz'
    with ZipFile(bomb, 'w', ZIP_DEFLATED) as archive, archive.open(
            'document.npy', 'w', force_zip64=True) as member:
        member.write(bytes(5 << 20))
    text = tmp_path / 'text.npz'
    text.write_text('no zip')
    huge = BytesIO()
    np.lib.format.write_array_header_1_0(
        huge, {'descr': '<f4', 'fortran_order': False, 'shape': (1 << 40,)})
    large = changed(saved, tmp_path / 'large.npz', answers_0=None)
    with ZipFile(large, 'a') as archive:
        archive.writestr('answers_0.npy', huge.getvalue())
    bad = [
        tmp_path / 'none.npz', tmp_path, text, bomb, large,
        changed(saved, tmp_path / 'a.npz', document=None),
        changed(saved, tmp_path / 'b.npz', document=document_of(saved, format=9)),
        changed(saved, tmp_path / 'c.npz', document=document_of(saved, rows=3)),
        changed(saved, tmp_path / 'd.npz', answers_0=answers.astype(np.float64)),
        changed(saved, tmp_path / 'e.npz', answers_0=answers[:, :3]),
        changed(saved, tmp_path / 'f.npz', times_0_1=times[:1]),
        changed(saved, tmp_path / 'g.npz', times_0_1=-times),
        changed(saved, tmp_path / 'h.npz', answers_0=np.array([Evil()], object))]
    for path in bad:
        with pytest.raises(DataError) as refusal:
            read(path)
        assert len(str(refusal.value).splitlines()) == 1
        assert str(path) in str(refusal.value)


def test_damage_anywhere_is_one_error(saved, read, tmp_path):
    data, place = saved.read_bytes(), tmp_path / 'damaged.npz'
    chance = random.Random(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        place.write_bytes(damaged[:chance.randrange(len(data))] if chance.random() < 0.2
                          else damaged)
        try:
            read(place)
        except ResnetTrtError:
            refused += 1
    assert refused > 30


def test_answers_that_are_none_are_refused(saved, read, frames, tmp_path):
    with np.load(saved) as file:
        answers = file['answers_0']
    answers[0] = np.nan
    with pytest.raises(ResnetTrtError, match='NaN'):
        read(changed(saved, tmp_path / 'nan.npz', answers_0=answers))


def test_options_are_for_the_backends_that_use_them(model):
    names = parse_names('onnxruntime, polygraphy:trt,simulated')
    check_used(names, {'max_batch_size': 8, 'threads': 2, 'tf32': True, 'simulated_ms': 0,
                       'precision': 'fp16'})
    with pytest.raises(UsageError, match='dla_core'):
        check_used(names, {'dla_core': 1})
    with open_subject('onnxruntime', model, {'threads': 1, 'tf32': True}) as subject:
        assert subject.info.details['threads'] == '1'


@pytest.mark.parametrize(('text', 'keyword'), [
    ('', 'unknown'), ('auto', 'unknown'), ('onnxruntime,', 'unknown'),
    ('onnxruntime@python3', 'unknown'), ('onnxruntime,onnxruntime', 'twice')])
def test_names_that_are_none(text, keyword):
    with pytest.raises(UsageError, match=keyword):
        parse_names(text)
