"""`resnet_trt evaluate --crops`: boxes counted by hand, and tables that cannot be used."""

from __future__ import annotations

from pathlib import Path
import re
from zipfile import ZipFile

from models.tiny_model import COLOURS, write_tiny_model
import numpy as np
from PIL import Image
import pytest
from resnet_trt_node.cli.support.regions.crops import LabelledCrop, parse_crops
from resnet_trt_node.errors import DataError
from resnet_trt_node.regions.region import Box

HEADER = 'file\tcenter_x\tcenter_y\twidth\theight\tclass\n'
#: Without it the error stream also says why no GPU is used.
ON_CPU = ('--backend', 'onnxruntime')


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """Return a folder with a.png, red and green halves, and sub/b.png, a blue patch in white."""
    folder = tmp_path / 'scenes'
    (folder / 'sub').mkdir(parents=True)
    halves = np.zeros((60, 120, 3), np.uint8)
    halves[:, :60], halves[:, 60:] = COLOURS['red'], COLOURS['green']
    Image.fromarray(halves).save(folder / 'a.png')
    patch = np.full((100, 100, 3), 255, np.uint8)
    patch[30:70, 10:90] = COLOURS['blue']
    Image.fromarray(patch).save(folder / 'sub' / 'b.png')
    return folder


@pytest.fixture
def crops(tmp_path: Path) -> Path:
    """Return a table: two crops are right, one by its index; one is wrong, and three unusable."""
    path = tmp_path / 'crops.tsv'
    path.write_text(
        HEADER + 'a.png\t30\t30\t60\t60\tred\na.png\t90\t30\t60\t60\t2\n\n'
        'sub/b.png\t50\t50\t80\t40\tred\nsub/b.png\t500\t50\t80\t40\tred\n'
        'sub/b.png\tnan\t50\t80\t40\tred\nsub/b.png\t50\t50\t7\t40\tred\n')
    return path


def test_accuracy_is_the_one_counted_by_hand(resnet_trt, colour_model, scenes, crops):
    outcome = resnet_trt(
        'evaluate', colour_model, '--images', scenes, '--crops', crops, '--json', *ON_CPU)
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert document['count'] == 3
    assert document['top1']['hits'] == 2
    assert document['crops'] == str(crops)
    assert document['confusion'] == [[1, 1, 1], [1, 4, 1], [2, 2, 1]]
    assert (document['unlabelled'], document['failures']) == (0, [])
    assert [(one['file'], one['line'], one['outcome']) for one in document['unusable']] == [
        ('sub/b.png', 6, 'outside'), ('sub/b.png', 7, 'not_finite'),
        ('sub/b.png', 8, 'too_small')]


def test_the_report_tells_of_crops(resnet_trt, colour_model, scenes, crops):
    outcome = resnet_trt('evaluate', colour_model, '--images', scenes, '--crops', crops)
    assert outcome.code == 0
    rows = [line.split() for line in outcome.out.splitlines()]
    assert rows[0] == ['crops', '3']
    assert rows[1][:3] == ['top-1', '66.67', '%']
    assert '3 crops cannot be cut out and count neither way: 1 not_finite, 1 outside, ' \
        '1 too_small' in outcome.err.splitlines()


def test_crops_of_a_zip_file_and_pictures_left_out(resnet_trt, colour_model, scenes, crops):
    crops.write_text(HEADER + 'sub/b.png\t50\t50\t80\t40\tblue\n')
    with ZipFile(scenes.with_suffix('.zip'), 'w') as file:
        for name in ('a.png', 'sub/b.png'):
            file.write(scenes / name, name)
    for images in (scenes, scenes.with_suffix('.zip')):
        document = resnet_trt(
            'evaluate', colour_model, '--images', images, '--crops', crops, '--json').document
        assert (document['count'], document['top1']['hits'], document['unlabelled']) == (1, 1, 1)


def test_region_options_change_what_is_cropped(resnet_trt, colour_model, scenes, crops):
    crops.write_text(HEADER + 'sub/b.png\t50\t50\t80\t40\tblue\nsub/b.png\t50\t50\t6\t6\tblue\n')
    words = ('evaluate', colour_model, '--images', scenes, '--crops', crops, '--json')

    def measured(*options):
        document = resnet_trt(*words, *options).document
        return document['count'], document['top1']['hits']
    assert measured() == (1, 1)
    assert measured('--min-region-px', 6) == (2, 2)
    # Twice as high and wide: the model's square is a middle of white and blue.
    assert measured('--region-margin', 2, '--region-aspect', 'stretch') == (1, 0)
    # Grey bars above and below.
    assert measured('--region-aspect', 'pad') == (1, 1)


def test_a_rotated_box_is_turned(resnet_trt, colour_model, scenes, crops):
    pixels = np.full((100, 100, 3), 255, np.uint8)
    pixels[10:90, 40:60] = COLOURS['blue']
    Image.fromarray(pixels).save(scenes / 'upright.png')
    crops.write_text(
        'class\tfile\tid\ttheta\tcenter_x\tcenter_y\twidth\theight\n'
        'blue\tupright.png\tx\t1.5707963\t50\t50\t80\t20\n'
        'blue\tupright.png\ty\t\t50\t50\t80\t20\n')
    document = resnet_trt(
        'evaluate', colour_model, '--images', scenes, '--crops', crops, '--json',
        '--region-aspect', 'stretch').document
    assert (document['count'], document['top1']['hits']) == (2, 1)


def test_two_models_get_crops_of_their_own_size(
        resnet_trt, colour_model, scenes, crops, tmp_path):
    other = write_tiny_model(tmp_path / 'other.onnx', size=20, short_side=20)
    document = resnet_trt(
        'evaluate', colour_model, '--compare', other, '--images', scenes, '--crops', crops,
        '--batch-size', 2, '--json').document
    assert document['comparison']['agreement']['same'] == 3
    assert len(document['unusable']) == 3


def test_a_broken_picture_is_an_error_or_skipped_as_asked(
        resnet_trt, colour_model, scenes, crops):
    (scenes / 'a.png').write_bytes(b'broken')
    words = ('evaluate', colour_model, '--images', scenes, '--crops', crops, *ON_CPU)
    assert 'a.png' in resnet_trt.refused(*words, '--json')
    document = resnet_trt(*words, '--json', '--skip-bad').document
    assert document['count'] == 1
    assert [(one['file'], one['line']) for one in document['failures']] == [
        ('a.png', 2), ('a.png', 3)]


@pytest.mark.parametrize(('table', 'message'), [
    ('', 'line 1: the header lacks file, center_x, center_y, width, height, class'),
    ('a.png\t1\t2\t3\t4\tred\n', 'line 1: the header lacks file'),
    (HEADER.replace('class', 'label'), 'line 1: the header lacks class'),
    (HEADER.replace('class', 'class\tthetha'), "line 1: the header has 'thetha'"),
    (HEADER.replace('class', 'class\tclass'), 'line 1: the header names a column twice'),
    (HEADER, 'has no crops'),
    (HEADER + 'a.png\t1\t2\t3\t4\n', 'line 2: 5 cells, the header has 6'),
    (HEADER + '\na.png\t1\t2\twide\t4\tred\n', "line 3: width 'wide' is not a number"),
    (HEADER + 'a.png\t1\t2\t\t4\tred\n', "line 2: width '' is not a number"),
    (HEADER + 'a.png\t1\t2\t3\t4\tpink\n', "line 2: class 'pink' is not one of the model"),
    (HEADER + 'a.png\t1\t2\t3\t4\t8\n', "line 2: class '8' is not one of the model"),
    (HEADER + 'a.png\t1\t2\t3\t4\t-1\n', "line 2: class '-1' is not one of the model"),
    (HEADER + '\t1\t2\t3\t4\tred\n', 'line 2: the file is empty'),
    (HEADER + 'c.png\t1\t2\t3\t4\tred\n' * 2, 'names 1 of 1 files that are not in')])
def test_a_bad_table_is_refused_with_its_line(
        resnet_trt, colour_model, scenes, crops, table, message):
    crops.write_text(table)
    line = resnet_trt.refused('evaluate', colour_model, '--images', scenes, '--crops', crops)
    assert message in line
    assert str(crops) in line


def test_boxes_that_are_all_unusable_are_an_error(resnet_trt, colour_model, scenes, crops):
    crops.write_text(HEADER + 'a.png\t900\t30\t60\t60\tred\n')
    outcome = resnet_trt('evaluate', colour_model, '--images', scenes, '--crops', crops, *ON_CPU)
    assert outcome.code == 2
    assert 'none of 1 crop could be used; the first: a.png (line 2): the box is outside' \
        in outcome.err


def test_options_that_do_not_go_together_are_refused(resnet_trt, colour_model, scenes, crops):
    words = ('evaluate', colour_model, '--images', scenes)
    assert 'leave one of them out' in resnet_trt.refused(
        *words, '--crops', crops, '--labels', crops)
    assert '--region-aspect is about regions: give --crops too' in resnet_trt.refused(
        *words, '--labels', crops, '--region-aspect', 'pad')
    assert f'there is no {crops}x: give --crops a table' in resnet_trt.refused(
        *words, '--crops', f'{crops}x')


def test_a_name_counts_before_an_index():
    text = '\ufeff' + HEADER.upper().replace('\n', '\r\n') + 'a\t1\t2\t3\t4\t1\r\nb\t1\t2\t3\t4\t0'
    assert parse_crops(text.lstrip('\ufeff'), ('a', 'b', '1'), 'table') == (
        LabelledCrop('a', 2, Box(1.0, 2.0, 3.0, 4.0), 2),
        LabelledCrop('b', 0, Box(1.0, 2.0, 3.0, 4.0), 3))
    with pytest.raises(DataError, match=re.escape("class '00000000012' is not one")):
        parse_crops(HEADER + 'a\t1\t2\t3\t4\t00000000012', ('a', 'b'), 'table')


def test_calibrate_takes_crops_too(resnet_trt, colour_model, scenes, crops, tmp_path):
    rows = ['a.png\t90\t30\t60\t60\tred\n' if number % 4 == 0 else 'a.png\t30\t30\t60\t60\tred\n'
            for number in range(120)]
    crops.write_text(HEADER + ''.join(rows) + 'a.png\t900\t30\t60\t60\tred\n')
    document = resnet_trt(
        'calibrate', colour_model, '--images', scenes, '--crops', crops, '-o',
        tmp_path / 'out.onnx', '--json').document
    assert document['count'] == 120
    assert [one['line'] for one in document['unusable']] == [122]
    # A quarter is wrong with a score of 99 %: it is less sure then.
    assert document['temperature'] > 1.5
