"""`resnet_trt calibrate`: a temperature that is worked out by hand, and what is refused."""

from __future__ import annotations

import math

from models.tiny_model import colour_picture, COLOURS, write_tiny_model
import onnx
from onnx import helper
from PIL import Image
import pytest
from resnet_trt_node.cli.arguments.evaluation.calibrate import MIN_PICTURES
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.spec import OUTPUT_NAME

ON_CPU = ('--backend', 'onnxruntime')
#: Of each colour; a quarter of the table calls a picture as a neighbour on the RGB cube.
EACH = 20
#: The colour model's logits are -6 a distance of 1, squared. Right 3 of 4 times and wrong by
#: a distance of 1 otherwise, the mean is -1.5: so each of three channels is off one time in 12.
TEMPERATURE = 6 / math.log(11)


@pytest.fixture
def table(tmp_path):
    """Return a table of pictures, lying among them, with whose classes the model is too sure."""
    folder = tmp_path / 'labelled'
    folder.mkdir()
    lines = []
    for index, name in enumerate(COLOURS):
        for number in range(EACH):
            file = f'{name}{number}.png'
            Image.fromarray(colour_picture(name, 40, 36)).save(folder / file)
            # The colours are numbered by bits, so that a flipped one is a neighbour.
            lines.append(f'{file}\t{index ^ (1 << number % 3) if number % 4 == 0 else index}\n')
    path = folder / 'labels.tsv'
    path.write_text(''.join(lines))
    return path


def test_the_temperature_is_the_one_worked_out_by_hand(
        resnet_trt, colour_model, table, tmp_path):
    out = tmp_path / 'out.onnx'
    outcome = resnet_trt(
        'calibrate', colour_model, '--images', table.parent, '-o', out, '--json', *ON_CPU)
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert document['temperature_before'] == 1
    assert document['temperature'] == pytest.approx(TEMPERATURE, rel=1e-4)
    sure = 1 / (1 + math.exp(-6)) ** 3
    found = document['all']
    assert (document['count'], found['count'], document['held_out']['count']) == (160, 160, 80)
    assert found['before']['mean_confidence'] == pytest.approx(sure, abs=1e-5)
    assert found['before']['expected_error'] == pytest.approx(sure - 0.75, abs=1e-5)
    assert found['after']['mean_confidence'] == pytest.approx((11 / 12) ** 3, abs=1e-4)
    assert found['after']['expected_error'] == pytest.approx((11 / 12) ** 3 - 0.75, abs=1e-4)
    assert document['held_out']['factor'] == pytest.approx(TEMPERATURE, rel=0.25)
    for part in (found, document['held_out']):
        assert part['after']['nll'] < part['before']['nll']
        assert part['after']['expected_error'] < part['before']['expected_error']
    # What was written answers so, and no answer has changed.
    evaluated = resnet_trt(
        'evaluate', colour_model, '--compare', out, '--images', table.parent, '--json', *ON_CPU)
    other = evaluated.document['comparison']
    assert other['calibration']['expected_error'] == pytest.approx(
        found['after']['expected_error'], abs=1e-6)
    assert other['agreement']['rate'] == 1
    assert read_model_spec(out).labels == tuple(COLOURS)


def test_a_calibrated_model_is_calibrated_again_by_multiplying(
        resnet_trt, colour_model, table, tmp_path):
    words = ('--images', table.parent, '-o')
    resnet_trt('calibrate', colour_model, *words, tmp_path / 'once.onnx', *ON_CPU)
    outcome = resnet_trt(
        'calibrate', tmp_path / 'once.onnx', *words, tmp_path / 'twice.onnx', *ON_CPU)
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == f'temperature {TEMPERATURE:.4f}, {TEMPERATURE:.4f} before'
    assert lines[1].split() == ['PICTURES', 'FACTOR', 'ECE', 'AFTER', 'NLL', 'AFTER']
    assert lines[2].split()[:3] == ['held', 'out', '80']
    assert lines[3].split()[:3] == ['all', '160', '1.0000']
    assert '160 pictures classified' in outcome.err
    assert 'temperature 2.5022' in ' '.join(
        resnet_trt('inspect', tmp_path / 'twice.onnx').out.split())


def test_labels_and_limit_are_those_of_evaluate(resnet_trt, colour_model, table, tmp_path):
    elsewhere = tmp_path / 'classes.tsv'
    table.rename(elsewhere)
    outcome = resnet_trt(
        'calibrate', colour_model, '--images', table.parent, '--labels', elsewhere,
        '--limit', MIN_PICTURES, '-o', tmp_path / 'out.onnx', '--json', *ON_CPU)
    assert outcome.document['count'] == MIN_PICTURES


def test_bad_pictures_are_skipped_as_asked(resnet_trt, colour_model, table, tmp_path):
    (table.parent / 'red0.png').write_text('no picture')
    words = (
        'calibrate', colour_model, '--images', table.parent, '-o', tmp_path / 'out.onnx', *ON_CPU)
    assert 'red0.png' in resnet_trt.refused(*words)
    document = resnet_trt(*words, '--skip-bad', '--json').document
    assert document['count'] == 159
    assert [one['file'] for one in document['failures']] == ['red0.png']


def test_too_few_pictures_are_refused(resnet_trt, colour_model, table, tmp_path):
    lines = table.read_text().splitlines(keepends=True)
    table.write_text(''.join(lines[:MIN_PICTURES - 1]))
    words = (
        'calibrate', colour_model, '--images', table.parent, '-o', tmp_path / 'out.onnx', *ON_CPU)
    assert f'{MIN_PICTURES - 1} usable pictures: calibrate on at least {MIN_PICTURES}' in (
        resnet_trt.refused(*words, '--json'))
    assert f'--limit 99: choose at least {MIN_PICTURES}' in resnet_trt.refused(
        *words, '--limit', '99')
    assert not (tmp_path / 'out.onnx').exists()


def test_pictures_that_are_all_right_are_refused(resnet_trt, colour_model, table, tmp_path):
    table.write_text(''.join(
        f'{name}{number}.png\t{index}\n' for index, name in enumerate(COLOURS)
        for number in range(EACH)))
    assert 'fit no temperature, the surer the model the better' in resnet_trt.refused(
        'calibrate', colour_model, '--images', table.parent, '-o', tmp_path / 'out.onnx',
        '--json', *ON_CPU)


def test_a_sigmoid_is_refused_before_any_picture_is_read(resnet_trt, tmp_path):
    path = write_tiny_model(tmp_path / 'model.onnx')
    model = onnx.load(str(path))
    model.graph.node[-1].CopyFrom(helper.make_node('Sigmoid', ['logits'], [OUTPUT_NAME]))
    onnx.save(model, str(path))
    assert 'Sigmoid' in resnet_trt.refused(
        'calibrate', path, '--images', tmp_path / 'nowhere', '-o', tmp_path / 'out.onnx')


def test_the_model_itself_is_not_written_over(resnet_trt, colour_model, table):
    assert 'is what the result is made from' in resnet_trt.refused(
        'calibrate', colour_model, '--images', table.parent, '-o', colour_model)
