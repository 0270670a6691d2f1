"""`resnet_trt evaluate`: accuracy counted by hand, and tables that cannot be used."""

from __future__ import annotations

import re
from zipfile import ZipFile

from models.tiny_model import colour_picture, write_blind_model
from PIL import Image
import pytest
from resnet_trt_node.datasets.labelled import spread
from resnet_trt_node.datasets.table import LabelledPicture
from resnet_trt_node.errors import UsageError

#: Without it the error stream also says why no GPU is used.
ON_CPU = ('--backend', 'onnxruntime')

# The colour model's classes are the corners of the RGB cube. Red is right; black is a neighbour
# of blue, so among its five best; red is opposite to cyan, the least probable of all.
TABLE = 'file\tclass_index\nred.png\t1\nblue.jpg\t0\n\nsub/red.jpg\t1\n'


@pytest.fixture
def table(pictures):
    """Return the pictures' table, lying among them."""
    path = pictures / 'labels.tsv'
    path.write_text(TABLE)
    return path


def test_accuracy_is_the_one_counted_by_hand(resnet_trt, colour_model, pictures, table):
    outcome = resnet_trt('evaluate', colour_model, '--images', pictures, '--json', *ON_CPU)
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert document['count'] == 3
    assert document['top1']['hits'] == 1
    assert document['top1']['accuracy'] == pytest.approx(1 / 3)
    assert document['top5']['hits'] == 2
    assert document['top5']['accuracy'] == pytest.approx(2 / 3)
    assert document['top1']['confidence_95'] == pytest.approx([0.0615, 0.7923], abs=1e-4)
    assert 0 < document['decode_share'] < 1
    assert (document['unlabelled'], document['failures']) == (0, [])


def test_the_table_of_results_is_for_people(resnet_trt, colour_model, pictures, table):
    outcome = resnet_trt('evaluate', colour_model, '--images', pictures, '--labels', table)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0] == ['pictures', '3']
    assert rows[1][:3] == ['top-1', '33.33', '%']
    assert rows[2][:3] == ['top-5', '66.67', '%']
    assert 'onnxruntime' in outcome.err


def test_a_zip_file_counts_like_its_folder(resnet_trt, colour_model, pictures, table, tmp_path):
    with ZipFile(tmp_path / 'pictures.zip', 'w') as file:
        for path in pictures.rglob('*.*'):
            file.write(path, path.relative_to(pictures))
    documents = [
        resnet_trt('evaluate', colour_model, '--images', images, '--json').document
        for images in (pictures, tmp_path / 'pictures.zip')]
    assert documents[0]['top1'] == documents[1]['top1']
    assert documents[0]['top5'] == documents[1]['top5']


def test_pictures_without_a_class_are_counted(resnet_trt, colour_model, pictures, table):
    table.write_text('red.png\t1\n')
    outcome = resnet_trt('evaluate', colour_model, '--images', pictures)
    assert outcome.out.splitlines()[0].split() == ['pictures', '1']
    assert '2 pictures without' in outcome.err


def test_a_limit_spreads_over_the_table():
    items = tuple(LabelledPicture(str(number), number) for number in range(10))
    assert [item.target for item in spread(items, 4)] == [0, 2, 5, 7]
    assert spread(items, 10) == items
    assert spread(items, 99) == items


def test_a_limit_is_kept(resnet_trt, colour_model, pictures, table):
    outcome = resnet_trt('evaluate', colour_model, '--images', pictures, '--limit', 2, '--json')
    assert outcome.document['count'] == 2


def test_a_broken_picture_is_an_error_or_skipped_as_asked(
        resnet_trt, colour_model, pictures, table):
    (pictures / 'blue.jpg').write_text('broken')
    line = resnet_trt.refused('evaluate', colour_model, '--images', pictures, *ON_CPU)
    assert 'blue.jpg' in line
    assert '--skip-bad' in line
    outcome = resnet_trt(
        'evaluate', colour_model, '--images', pictures, '--skip-bad', '--json', *ON_CPU)
    assert outcome.document['count'] == 2
    assert [failure['file'] for failure in outcome.document['failures']] == ['blue.jpg']
    outcome = resnet_trt('evaluate', colour_model, '--images', pictures, '--skip-bad')
    assert 'skipped: ' in outcome.err
    assert '1 picture could not' in outcome.err


def test_a_picture_that_a_model_cannot_answer_counts_for_none_or_is_an_error(
        resnet_trt, colour_model, tmp_path, pictures, table):
    Image.fromarray(colour_picture('white')).save(pictures / 'blue.jpg')
    blind = write_blind_model(tmp_path / 'blind.onnx')
    line = resnet_trt.refused('evaluate', blind, '--images', pictures, *ON_CPU)
    assert re.search('blue.jpg: .*NaN.*--skip-bad', line)
    document = resnet_trt(
        'evaluate', colour_model, '--compare', blind, '--images', pictures, '--skip-bad',
        '--json', *ON_CPU).document
    assert document['count'] == 2
    failure, = document['failures']
    assert failure['file'] == 'blue.jpg'
    assert 'NaN' in failure['error']


def test_nothing_but_broken_pictures_is_an_error(resnet_trt, colour_model, pictures, table):
    table.write_text('red.png\t1\n')
    (pictures / 'red.png').write_text('broken')
    line = resnet_trt.refused(
        'evaluate', colour_model, '--images', pictures, '--skip-bad', '--json', *ON_CPU)
    assert 'none of 1 picture' in line


@pytest.mark.parametrize(('text', 'cause'), [
    ('', 'no labelled pictures'),
    ('file\tclass\n', 'no labelled pictures'),
    ('red.png\t1\ngone.png\t2\n', '1 of 2 files'),
    ('red.png\t8\n', 'line 1: class 8'),
    ('red.png\t-1\n', 'line 1: class -1'),
    ('red.png\t1\nblue.jpg\tblue\n', "line 2: 'blue'"),
    ('red.png\t1\nblue.jpg 4\n', 'line 2: 1 cells'),
    ('red.png\t1\t2\n', 'line 1: 3 cells'),
    ('red.png\t1\nred.png\t1\n', 'line 2: red.png'),
])
def test_a_table_that_cannot_be_used_is_refused_with_its_line(
        resnet_trt, colour_model, pictures, table, text, cause):
    table.write_text(text)
    assert cause in resnet_trt.refused('evaluate', colour_model, '--images', pictures)


def test_a_table_that_is_no_text_is_refused(resnet_trt, colour_model, pictures, table):
    table.write_bytes(b'\xff\xfe\x00')
    assert 'not UTF-8' in resnet_trt.refused('evaluate', colour_model, '--images', pictures)


@pytest.mark.parametrize(('words', 'cause'), [
    (['--images', 'missing'], 'zip file missing'),
    (['--images', 'PICTURE'], 'is not a zip file'),
    (['--images', 'FOLDER'], 'no labels.tsv'),
    (['--images', 'FOLDER', '--labels', 'missing.tsv'], 'no missing.tsv'),
    (['--images', 'FOLDER', '--limit', '0'], '--limit 0'),
])
def test_bad_input_is_refused_in_one_line(resnet_trt, colour_model, pictures, words, cause):
    places = {'PICTURE': pictures / 'red.png', 'FOLDER': pictures}
    line = resnet_trt.refused('evaluate', colour_model, *[places.get(w, w) for w in words])
    assert cause in line


def test_engines_may_be_tuned_for_the_sizes_that_compare_tunes_for(
        resnet_trt, monkeypatch, colour_model, pictures, table):
    seen = []

    def open_backend(path, name, implied, *, max_batch_size, opt_batch_sizes, **others):
        seen.append((max_batch_size, opt_batch_sizes))
        raise UsageError('enough is known')
    monkeypatch.setattr('resnet_trt_node.cli.support.options.open_backend', open_backend)
    for words in ((), ('--opt-batch-size', '1,64')):
        outcome = resnet_trt(
            'evaluate', colour_model, '--images', pictures, '--batch-size', '64', *words)
        assert outcome.code == 2
        assert 'enough is known' in outcome.err
    assert seen == [(64, ()), (64, (1, 64))]
