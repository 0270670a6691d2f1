"""`resnet_trt compare`: exit codes, what is written, and what is refused."""

from __future__ import annotations

import json
import os
import re
import sys
from zipfile import ZipFile

import cv2
from models.tiny_model import write_tiny_model
import numpy as np
import onnx
from onnx import numpy_helper
import pytest
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.contract.model_file import file_sha256, read_model_spec
from resnet_trt_node.errors import DataError, FrameError, UsageError

# Polygraphy imports PyTorch where that is installed.
pytestmark = pytest.mark.slow

QUICK = ('--iterations', 9, '--rounds', 3, '--warm-up', 1, '--limit', 12, '--threads', 1)
BACKENDS = ('--backends', 'onnxruntime,polygraphy:onnxrt')


@pytest.fixture
def perturbed(colour_model, tmp_path):
    """Return the colour model with its outputs in another order, under the same names."""
    model = onnx.load(str(colour_model))
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(
            np.ascontiguousarray(values[..., ::-1]), tensor.name))
    path = tmp_path / 'perturbed.onnx'
    onnx.save(model, str(path))
    return path


def tables(report):
    """Return a Markdown file's tables, each a list of rows of cells."""
    blocks = re.findall(r'(?:^\|.*\n)+', report, re.MULTILINE)
    return [[[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
             for line in block.splitlines()] for block in blocks]


def test_two_that_agree(resnet_trt, colour_model, tmp_path):
    out = tmp_path / 'out'
    outcome = resnet_trt(
        'compare', colour_model, *BACKENDS, *QUICK, '--batch-size', '1,4', '--output', out)
    assert outcome.code == 0, outcome
    lines = outcome.out.splitlines()
    assert lines[0].split()[:4] == ['batch', 'what', 'p50', 'ms']
    assert [line.split()[:2] for line in lines[1:5]] == [
        ['1', 'onnxruntime'], ['1', 'polygraphy:onnxrt'], ['4', 'onnxruntime'],
        ['4', 'polygraphy:onnxrt']]
    assert lines[-1].startswith('All agree with onnxruntime')
    assert sorted(path.name for path in out.iterdir()) == [
        'compare.json', 'latency.png', 'report.md']
    assert cv2.imread(str(out / 'latency.png')).shape[1] > 500


def test_the_report_holds_the_figures(resnet_trt, colour_model, tmp_path):
    printed = resnet_trt(
        'compare', colour_model, *BACKENDS, *QUICK, '--output', tmp_path, '--json')
    document = json.loads((tmp_path / 'compare.json').read_text())
    assert printed.document == document
    report = (tmp_path / 'report.md').read_text()
    latency, accuracy, runtimes, models = tables(report)
    for cells, row in zip(latency[2:], document['rows']):
        found, = row['latency']
        assert cells[:2] == ['1', row['label']]
        for cell, name in zip(cells[2:5], ('p50_ms', 'p90_ms', 'p99_ms')):
            assert float(cell.replace(',', '')) == pytest.approx(
                found[name], rel=0.001, abs=0.0006)
        assert float(cells[6].replace(',', '')) == pytest.approx(found['images_s'], abs=0.06)
        assert (found['count'], found['rounds']) == (9, 3)
    ratio = document['rows'][1]['latency'][0]['ratio']
    assert float(latency[3][7].split()[0]) == pytest.approx(ratio, rel=0.01)
    assert accuracy[2][0] == 'polygraphy:onnxrt'
    assert accuracy[2][3:] == ['12 of 12', 'agrees']
    assert [cells[0] for cells in runtimes[2:]] == ['onnxruntime', 'polygraphy:onnxrt']
    assert models[2][4] == f'`{file_sha256(colour_model)}`'
    assert document['command'] in report
    assert '](latency.png)' in report


def test_the_json_holds_machine_versions_and_command(resnet_trt, colour_model):
    document = resnet_trt('compare', colour_model, *BACKENDS, *QUICK, '--json').document
    assert int(document['machine']['cores']) == len(os.sched_getaffinity(0))
    assert document['packages']['polygraphy']
    assert document['models'][0]['sha256'] == file_sha256(colour_model)
    assert document['plan']['iterations'] == 9
    assert (document['reference'], document['unavailable']) == ('onnxruntime', [])
    assert document['source'] == '12 generated, seed 0'
    words = document['command'].split()
    again = resnet_trt(*words[1:])
    assert again.code == 0
    assert again.document['command'] == document['command']


def test_answers_that_differ_end_with_1(resnet_trt, colour_model, perturbed, tmp_path):
    words = ('compare', colour_model, perturbed, '--backends', 'onnxruntime', *QUICK)
    outcome = resnet_trt(*words, '--output', tmp_path / 'out')
    assert outcome.code == 1
    assert 'perturbed DISAGREE with colours' in outcome.out
    assert 'DISAGREES' in (tmp_path / 'out' / 'report.md').read_text()
    assert resnet_trt(*words, '--atol', 1, '--min-agreement', 0).code == 0


def test_models_and_backends_make_a_row_each(resnet_trt, colour_model, perturbed):
    document = resnet_trt(
        'compare', colour_model, perturbed, *BACKENDS, *QUICK, '--json').document
    assert [row['label'] for row in document['rows']] == [
        'colours onnxruntime', 'colours polygraphy:onnxrt', 'perturbed onnxruntime',
        'perturbed polygraphy:onnxrt']
    pairs = document['accuracy']['pairs']
    assert [pairs[row['label']]['agrees'] for row in document['rows'][1:]] == [
        True, False, False]


def test_what_another_run_saved_takes_part(resnet_trt, colour_model, pictures, tmp_path):
    path = tmp_path / 'other.npz'
    words = ('compare', colour_model, '--backends', 'onnxruntime', *QUICK)
    outcome = resnet_trt(*words, '--images', pictures, '--save', path)
    assert outcome.code == 0, outcome
    assert str(path) in outcome.out
    document = resnet_trt(*words, '--images', path, '--saved', path, '--json').document
    here, there = document['rows']
    assert (here.get('saved'), there['saved']['file']) == (None, 'other.npz')
    assert there['latency'][0]['ratio_interval'] is None
    assert document['accuracy']['pairs'][there['label']]['max_difference'] == 0
    assert document['accuracy']['frames'] == 3
    assert '--saved' in document['command']
    assert 'other frames' in resnet_trt.refused(*words, '--saved', path)
    assert '--save' in resnet_trt.refused(*words, '--save', path, '--json')


def test_what_cannot_be_opened_is_an_error(resnet_trt, colour_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    words = ('compare', colour_model, '--backends', 'tensorrt,onnxruntime', *QUICK,
             '--output', tmp_path / 'out')
    line = resnet_trt.refused(*words)
    assert 'tensorrt: tensorrt cannot' in line
    assert '--skip-unavailable' in line
    assert not (tmp_path / 'out').exists()


def test_what_cannot_be_opened_is_named_where_it_is_skipped(
        resnet_trt, colour_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    outcome = resnet_trt(
        'compare', colour_model, '--backends', 'tensorrt,onnxruntime', *QUICK,
        '--skip-unavailable', '--output', tmp_path)
    assert outcome.code == 0
    assert 'tensorrt could not be opened' in outcome.out
    assert 'without tensorrt: ' in outcome.err
    report = (tmp_path / 'report.md').read_text()
    assert '- tensorrt: tensorrt cannot' in report
    # The next one is then what the others are compared with.
    assert json.loads((tmp_path / 'compare.json').read_text())['reference'] == 'onnxruntime'
    line = resnet_trt.refused(
        'compare', colour_model, '--backends', 'tensorrt', '--skip-unavailable')
    assert re.search('no backend .*tensorrt: ', line)


def test_without_polygraphy_the_package_to_install_is_named(resnet_trt, colour_model, monkeypatch):
    import resnet_trt_node.compare as package
    monkeypatch.delitem(sys.modules, 'resnet_trt_node.compare.runners', raising=False)
    monkeypatch.delattr(package, 'runners', raising=False)
    monkeypatch.setitem(sys.modules, 'polygraphy.backend.base', None)
    line = resnet_trt.refused('compare', colour_model, '--backends', 'onnxruntime', *QUICK)
    assert 'pip install polygraphy' in line


def test_without_matplotlib_there_is_no_picture(
        resnet_trt, colour_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'matplotlib', None)
    outcome = resnet_trt(
        'compare', colour_model, '--backends', 'onnxruntime', *QUICK, '--output', tmp_path)
    assert outcome.code == 0
    assert re.search('latency.png.*matplotlib', outcome.err)
    assert sorted(path.name for path in tmp_path.iterdir()) == ['compare.json', 'report.md']
    assert 'latency.png' not in (tmp_path / 'report.md').read_text()
    assert 'nothing to compare' in outcome.out


@pytest.mark.parametrize(('words', 'reason'), [
    (('--backends', 'nothing'), "unknown backend 'nothing'"),
    (('--backends', 'onnxruntime,onnxruntime'), 'named twice'),
    (('--backends', 'onnxruntime@python3'), 'unknown backend'),
    (('--backends', 'onnxruntime', '--saved', '/no/such/file'), '/no/such/file'),
    ((*BACKENDS, '--batch-size', '4,1'), 'rising'),
    ((*BACKENDS, '--rounds', 1), 'rounds is 1'),
    ((*BACKENDS, '--atol', -1), 'atol is -1'),
    ((*BACKENDS, '--limit', 0), 'limit 0'),
    ((*BACKENDS, '--topic', 'image'), '--topic'),
    ((*BACKENDS, '--images', '/no/such/place'), 'no /no/such/place')])
def test_what_cannot_be_asked(resnet_trt, colour_model, words, reason):
    assert reason in resnet_trt.refused('compare', colour_model, *words)


def test_a_place_for_the_report_is_looked_for_before_measuring(
        resnet_trt, colour_model, tmp_path):
    (tmp_path / 'file').write_text('')
    line = resnet_trt.refused(
        'compare', colour_model, '--backends', 'onnxruntime', '--output', tmp_path / 'file',
        '--seconds', 3600)
    assert 'Not a directory' in line
    assert '--seed -1' in resnet_trt.refused(
        'compare', colour_model, '--backends', 'onnxruntime', '--seed', -1)


def test_models_that_do_not_belong_together(resnet_trt, colour_model, tmp_path):
    words = ('--backends', 'onnxruntime')
    assert 'named twice' in resnet_trt.refused('compare', colour_model, colour_model, *words)
    assert 'no model at' in resnet_trt.refused('compare', tmp_path / 'none.onnx', *words)
    other = write_tiny_model(tmp_path / 'other.onnx', size=24)
    assert 'different resize' in resnet_trt.refused('compare', colour_model, other, *words)
    named = write_tiny_model(tmp_path / 'named.onnx', labels=tuple('abcdefgh'))
    assert 'different labels' in resnet_trt.refused('compare', colour_model, named, *words)


def test_frames_of_folders_zip_files_and_bags(
        colour_model, pictures, colour_bag, tmp_path):
    spec = read_model_spec(colour_model)
    from_folder, said = read_frames(str(pictures), None, spec, 9, 0)
    assert (from_folder.shape, said) == ((3, 32, 32, 3), '3 of pictures')
    # Sorted by name: blue, red, cyan; jpeg is off by little.
    assert np.abs(from_folder[:, 16, 16].astype(int) - [
        [0, 0, 255], [255, 0, 0], [0, 255, 255]]).max() < 5
    with ZipFile(tmp_path / 'pictures.zip', 'w') as file:
        for path in pictures.rglob('*.*'):
            file.write(path, path.relative_to(pictures))
    from_zip, _ = read_frames(str(tmp_path / 'pictures.zip'), None, spec, 9, 0)
    np.testing.assert_array_equal(from_zip, from_folder)
    assert len(read_frames(str(pictures / 'red.png'), None, spec, 9, 0)[0]) == 1
    bag, _ = read_frames(str(colour_bag), ['/front/image'], spec, 2, 0)
    assert bag[:, 16, 16].tolist() == [[255, 0, 0], [0, 255, 0]]
    with pytest.raises(FrameError, match='leave it out'):
        read_frames(str(colour_bag), None, spec, 9, 0)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='no pictures'):
        read_frames(str(tmp_path / 'empty'), None, spec, 9, 0)
    with pytest.raises(UsageError, match='limit'):
        read_frames(str(pictures), None, spec, 0, 0)


def test_pictures_are_asked_about(resnet_trt, colour_model, pictures):
    document = resnet_trt(
        'compare', colour_model, *BACKENDS, *QUICK, '--images', pictures, '--json').document
    assert document['source'] == '3 of pictures'
    assert document['accuracy']['frames'] == 3
