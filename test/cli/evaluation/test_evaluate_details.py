"""`resnet_trt evaluate` beyond accuracy: classes, calibration, two models, folders, files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
import re
from zipfile import ZipFile

from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image
import pytest
from resnet_trt_node.cli.support.evaluation import files as evaluation_files

#: Without it the error stream also says why no GPU is used.
ON_CPU = ('--backend', 'onnxruntime')
#: Folder to the colours in it: one red picture lies among the blue ones.
FOLDERS = {'red': ['red', 'red'], 'blue': ['blue', 'red'], 'white': ['white']}


def lay_out(folder: Path, folders: dict[str, list[str]]) -> Path:
    """Write pictures of colours, one folder for each class."""
    for name, colours in folders.items():
        (folder / name).mkdir(parents=True)
        for number, colour in enumerate(colours):
            Image.fromarray(colour_picture(colour)).save(folder / name / f'{number}.png')
    return folder


@pytest.fixture
def folders(tmp_path):
    """Return a folder of class folders."""
    return lay_out(tmp_path / 'data' / 'test', FOLDERS)


@pytest.fixture(scope='session')
def blind_model(colour_model, tmp_path_factory):
    """Return the colour model with red made so unlikely that black takes its place."""
    model = onnx.load(str(colour_model))
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == 'bias')
    values = numpy_helper.to_array(bias).copy()
    values[list(COLOURS).index('red')] -= 7
    values[list(COLOURS).index('black')] += 2
    bias.CopyFrom(numpy_helper.from_array(values, 'bias'))
    path = tmp_path_factory.mktemp('models') / 'blind.onnx'
    onnx.save(model, str(path))
    return path


def test_class_folders_are_matched_by_name(resnet_trt, colour_model, folders):
    outcome = resnet_trt('evaluate', colour_model, '--images', folders, '--json', *ON_CPU)
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert (document['count'], document['top1']['hits']) == (5, 4)
    red, blue, white = (list(COLOURS).index(name) for name in ('red', 'blue', 'white'))
    assert document['confusion'] == [
        [red, red, 2], [blue, red, 1], [blue, blue, 1], [white, white, 1]]
    classes = {one['label']: one for one in document['classes']}
    assert list(classes) == ['red', 'blue', 'white']
    assert (classes['red']['precision'], classes['red']['recall']) \
        == (pytest.approx(2 / 3), 1.0)
    assert (classes['blue']['count'], classes['blue']['recall']) == (2, 0.5)
    assert (classes['blue']['confused_with'], classes['blue']['confused']) == (red, 1)
    assert document['macro'] == {
        'precision': pytest.approx((2 / 3 + 1 + 1) / 3), 'recall': pytest.approx(2.5 / 3),
        'f1': pytest.approx((4 / 5 + 2 / 3 + 1) / 3)}
    assert document['absent'] == [name for name in COLOURS if name not in FOLDERS]
    # Each pure colour is answered with more than 0.99, and one answer in five is wrong.
    calibration = document['calibration']
    assert calibration['expected_error'] == pytest.approx(0.2, abs=0.01)
    assert calibration['maximum_error'] == pytest.approx(0.2, abs=0.01)
    assert [one['count'] for one in calibration['bins']] == [0] * 14 + [5]
    assert calibration['bins'][0]['accuracy'] is None
    assert calibration['brier'] == pytest.approx(2 / 5, abs=0.01)


def test_a_folder_within_a_zip_file_counts_like_a_folder(
        resnet_trt, colour_model, folders, tmp_path):
    with ZipFile(tmp_path / 'data.zip', 'w') as file:
        for path in folders.rglob('*.png'):
            file.write(path, path.relative_to(folders.parent))
    documents = [
        resnet_trt('evaluate', colour_model, '--images', images, '--json').document
        for images in (folders, tmp_path / 'data.zip' / 'test')]
    for key in ('top1', 'classes', 'calibration', 'confusion'):
        assert documents[0][key] == documents[1][key]
    line = resnet_trt.refused('evaluate', colour_model, '--images', tmp_path / 'data.zip')
    assert 'data.zip is divided into test' in line


def test_names_that_do_not_match_are_listed_either_way(resnet_trt, colour_model, tmp_path):
    lay_out(tmp_path / 'data', {'red': ['red'], 'Blue': ['blue']})
    line = resnet_trt.refused('evaluate', colour_model, '--images', tmp_path / 'data')
    assert re.search('unknown classes: Blue; .*: black, green', line)


def test_people_see_the_weakest_classes(resnet_trt, colour_model, folders):
    outcome = resnet_trt('evaluate', colour_model, '--images', folders, *ON_CPU)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    # A corner of the cube has three neighbours, each e^6 times less likely: 1 / (1 + e^-6)^3.
    assert lines[3].split()[:3] == ['sure', '99.26', '%']
    assert 'error 19.26 points' in lines[3]
    assert lines[4].split()[:3] == ['F1', '82.22', '%']
    assert re.search(r'3 of 8 classes.*88\.9%.*83\.3%', lines[4])
    assert lines[6].split()[:2] == ['weakest', 'classes']
    assert [line.split() for line in lines[7:]] == [
        ['blue', '2', '100.0', '50.0', '66.7', 'red', '(1', 'x)'],
        ['red', '2', '66.7', '100.0', '80.0']]
    assert re.search('5 classes .*: black, green', outcome.err)
    short = resnet_trt('evaluate', colour_model, '--images', folders, '--worst', 0, *ON_CPU)
    assert short.out.splitlines() == lines[:5]


def test_two_models_are_compared_picture_by_picture(
        resnet_trt, colour_model, blind_model, folders):
    words = ('evaluate', colour_model, '--images', folders, '--compare', blind_model, *ON_CPU)
    document = resnet_trt(*words, '--json').document
    assert document['top1']['hits'] == 4
    comparison = document['comparison']
    assert (comparison['model'], comparison['backend']['name']) \
        == (str(blind_model), 'onnxruntime')
    assert comparison['top1']['hits'] == 2
    agreement = comparison['agreement']
    # The two red pictures are lost, the red one among the blue is wrong either way.
    assert [agreement[key] for key in (
        'same', 'both_right', 'only_model_right', 'only_other_right', 'both_wrong')] \
        == [2, 2, 2, 0, 1]
    assert agreement['rate'] == pytest.approx(0.4)
    assert agreement['accuracy_difference'] == pytest.approx(-0.4)
    assert agreement['mcnemar_p'] == 0.5
    assert 0.9 < agreement['max_probability_difference'] <= 1
    assert agreement['mean_kl_nats'] > 1
    text = resnet_trt(*words).out
    assert f'Compared with {blind_model}' in text
    assert "right only without it 2 x, only with it 0 x: McNemar's exact p = 0.5" in text
    assert 'gained     -40.00  points of top-1' in text


def test_a_model_agrees_with_itself_on_another_backend(resnet_trt, colour_model, folders):
    document = resnet_trt(
        'evaluate', colour_model, '--images', folders, '--compare-backend', 'onnxruntime',
        '--json', *ON_CPU, '--batch-size', 2).document
    agreement = document['comparison']['agreement']
    assert (agreement['rate'], agreement['max_probability_difference']) == (1.0, 0.0)
    assert (agreement['mean_kl_nats'], agreement['mcnemar_p']) == (0.0, 1.0)


def test_a_picture_that_is_broken_counts_for_neither_model(
        resnet_trt, colour_model, blind_model, folders):
    (folders / 'blue' / '1.png').write_text('broken')
    words = ('evaluate', colour_model, '--images', folders, '--compare', blind_model, *ON_CPU)
    assert '--skip-bad' in resnet_trt.refused(*words)
    document = resnet_trt(*words, '--skip-bad', '--json').document
    assert (document['count'], document['top1']['hits']) == (4, 4)
    assert document['comparison']['agreement']['both_wrong'] == 0
    assert [failure['file'] for failure in document['failures']] == ['blue/1.png']


def test_models_of_other_classes_are_refused(resnet_trt, colour_model, folders, tmp_path):
    labels = ['schwarz', *list(COLOURS)[1:]]
    other = write_tiny_model(tmp_path / 'other.onnx', labels)
    line = resnet_trt.refused(
        'evaluate', colour_model, '--images', folders, '--compare', other)
    assert "class 0 is 'black' in" in line
    assert "and 'schwarz' in" in line


def test_the_matrix_is_written_as_a_table(resnet_trt, colour_model, folders, tmp_path):
    files = [tmp_path / 'new' / f'matrix.{ending}' for ending in ('csv', 'json')]
    words = [word for file in files for word in ('--confusion', file)]
    assert resnet_trt('evaluate', colour_model, '--images', folders, *words, *ON_CPU).code == 0
    rows = list(csv.reader(files[0].open(encoding='utf-8')))
    assert rows[0] == ['right class', *COLOURS]
    assert rows[1 + list(COLOURS).index('blue')] == ['blue', *'01001000']
    document = json.loads(files[1].read_text(encoding='utf-8'))
    assert document['labels'] == list(COLOURS)
    assert document['counts'] == [[int(cell) for cell in row[1:]] for row in rows[1:]]
    assert sorted(path.name for path in files[0].parent.iterdir()) == [
        'matrix.csv', 'matrix.json']


@pytest.mark.slow
@pytest.mark.parametrize('ending', ['png', 'svg', 'pdf'])
def test_pictures_are_drawn(resnet_trt, colour_model, blind_model, folders, tmp_path, ending):
    pytest.importorskip('matplotlib', reason='matplotlib, which draws, is not installed')
    matrix, diagram = tmp_path / f'matrix.{ending}', tmp_path / f'reliability.{ending}'
    assert resnet_trt(
        'evaluate', colour_model, '--images', folders, '--compare', blind_model, '--confusion',
        matrix, '--reliability', diagram, *ON_CPU).code == 0
    for path in (matrix, diagram):
        if ending == 'png':
            with Image.open(path) as picture:
                assert min(picture.size) > 400
                assert len(set(np.asarray(picture.convert('L')).ravel().tolist())) > 20
        else:
            assert path.read_bytes().startswith(b'%PDF' if ending == 'pdf' else b'<?xml')


@pytest.mark.parametrize(('words', 'cause'), [
    (['--confusion', 'matrix.txt'], 'one of .png'),
    (['--confusion', 'matrix'], 'one of .png'),
    (['--reliability', 'diagram.csv'], 'one of .png'),
    (['--confusion', 'FOLDER.csv'], 'is a folder'),
    (['--bins', '0'], '--bins 0'),
    (['--bins', '1000000000'], 'at most 100000'),
    (['--worst', '-1'], '--worst -1'),
    (['--compare', 'missing.onnx'], 'missing.onnx'),
    (['--images', 'missing.zip'], 'zip file')])
def test_bad_input_is_refused_before_anything_is_measured(
        resnet_trt, colour_model, folders, tmp_path, words, cause):
    (tmp_path / 'FOLDER.csv').mkdir()
    words = [tmp_path / word if word == 'FOLDER.csv' else word for word in words]
    line = resnet_trt.refused('evaluate', colour_model, '--images', folders, *words)
    assert cause in line


def test_pictures_without_matplotlib_are_refused(
        resnet_trt, colour_model, folders, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation_files, 'find_spec', lambda name: None)
    words = ('evaluate', colour_model, '--images', folders, *ON_CPU, '--confusion')
    line = resnet_trt.refused(*words, tmp_path / 'matrix.png')
    assert 'pip install matplotlib' in line
    assert resnet_trt(*words, tmp_path / 'matrix.csv').code == 0


def test_a_place_that_cannot_be_written_to_loses_no_results(
        resnet_trt, colour_model, folders, tmp_path):
    (tmp_path / 'file').write_text('in the way')
    outcome = resnet_trt(
        'evaluate', colour_model, '--images', folders, '--json', *ON_CPU,
        '--confusion', tmp_path / 'file' / 'matrix.csv')
    assert outcome.code == 2
    assert 'cannot write' in outcome.err
    assert outcome.document['count'] == 5
