"""The commands on a multi-label model: its scores in NumPy are the reference."""

from __future__ import annotations

from pathlib import Path

from models.tiny_model import light_scores, LIGHTS, write_multi_label_model, write_tiny_model
import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image
import pytest

ON_CPU = ('--backend', 'onnxruntime')
COLOURS = {
    'white.png': (255, 250, 240), 'yellow.png': (240, 250, 0), 'black.png': (0, 0, 0),
    'dim.png': (100, 0, 160)}
TABLE = 'file\tclasses\nwhite.png\tred;green;blue;warm;leaf;sky\nyellow.png\tred;green;leaf\n' \
    'black.png\t\ndim.png\tblue\n'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / 'photos'
    folder.mkdir()
    for name, colour in COLOURS.items():
        Image.new('RGB', (40, 30), colour).save(folder / name)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_multi_label_model(tmp_path / 'lights.onnx')


def expected() -> dict[str, np.ndarray]:
    """Return each picture's scores, float64 (6,)."""
    return {name: light_scores(np.full((1, 2, 2, 3), colour, np.uint8))[0]
            for name, colour in COLOURS.items()}


def test_classify_gives_every_class_above_the_threshold(resnet_trt, model, photos):
    for option, least in (((), 0.5), (('--score-threshold', 0.3, '--top-k', 1), 0.3)):
        outcome = resnet_trt('classify', model, photos, '--json', *option, *ON_CPU)
        found = {Path(one['source']).name: {
            each['label']: each['score'] for each in one['predictions']}
            for one in outcome.document['results']}
        for name, scores in expected().items():
            assert found[name] == {
                label: pytest.approx(score, abs=1e-5)
                for label, score in zip(LIGHTS, scores) if score >= least}
    assert len(found['white.png']) == 6
    assert found['black.png'] == {}


def test_evaluate_measures_each_class(resnet_trt, model, photos):
    (photos / 'labels.tsv').write_text(TABLE)
    outcome = resnet_trt('evaluate', model, '--images', photos, '--json', *ON_CPU)
    assert (outcome.code, outcome.err) == (0, '')
    document = outcome.document
    assert document['format'] == 'resnet_trt.evaluate_multi_label'
    # Warm is answered for yellow, which does not show it; sky for dim.
    assert (document['count'], document['exact_match']['hits']) == (4, 2)
    classes = {one['label']: one for one in document['classes']}
    assert (classes['warm']['precision'], classes['warm']['recall']) == (0.5, 1)
    assert (classes['sky']['precision'], classes['red']['f1']) == (0.5, 1)
    assert classes['warm']['average_precision'] == 1
    assert document['mean_average_precision'] == 1
    assert document['micro'] == {
        'precision': pytest.approx(10 / 12), 'recall': 1, 'f1': pytest.approx(20 / 22)}
    assert not document['one_class_each']
    low = resnet_trt(
        'evaluate', model, '--images', photos, '--json', '--score-threshold', 0.2, *ON_CPU)
    assert low.document['score_threshold'] == 0.2
    assert {one['label']: one['answered'] for one in low.document['classes']}['red'] == 3
    text = resnet_trt('evaluate', model, '--images', photos, *ON_CPU).out
    assert 'mAP' in text
    assert '50.00  %  have all of their classes and no other at 0.5' in text
    assert 'warm' in text


def test_class_folders_have_one_class_for_each_picture(resnet_trt, model, tmp_path):
    for label, name in (('red', 'yellow.png'), ('sky', 'dim.png')):
        (tmp_path / 'sorted' / label).mkdir(parents=True)
        Image.new('RGB', (40, 30), COLOURS[name]).save(tmp_path / 'sorted' / label / name)
    words = ('evaluate', model, '--images', tmp_path / 'sorted', *ON_CPU)
    document = resnet_trt(*words, '--json').document
    assert document['one_class_each']
    classes = {one['label']: one for one in document['classes']}
    assert (classes['red']['recall'], classes['green']['count']) == (1, 0)
    assert document['exact_match']['hits'] == 0
    assert 'each picture has one class here' in resnet_trt(*words).err


def changed(model: Path, path: Path) -> Path:
    """Write the model with another bias for red, so that dim shows it as well."""
    content = onnx.load(str(model))
    bias, = (one for one in content.graph.initializer if one.name == 'bias')
    values = numpy_helper.to_array(bias).copy()
    values[0] = -3
    bias.CopyFrom(numpy_helper.from_array(values, 'bias'))
    onnx.save(content, str(path))
    return path


def test_two_models_are_compared_by_their_classes(resnet_trt, model, photos, tmp_path):
    (photos / 'labels.tsv').write_text(TABLE)
    other = changed(model, tmp_path / 'other.onnx')
    outcome = resnet_trt(
        'evaluate', model, '--images', photos, '--compare', other, '--json', *ON_CPU)
    comparison = outcome.document['comparison']
    assert (comparison['agreement']['same'], comparison['agreement']['rate']) == (3, 0.75)
    means = np.array([colour[0] for colour in COLOURS.values()]) / 255
    expected_difference = np.abs(
        1 / (1 + np.exp(5 - 10 * means)) - 1 / (1 + np.exp(3 - 10 * means))).max()
    assert comparison['agreement']['max_probability_difference'] == pytest.approx(
        expected_difference, abs=1e-5)
    assert 'same' in resnet_trt(
        'evaluate', model, '--images', photos, '--compare', other, *ON_CPU).out


def test_what_does_not_fit_is_refused_in_one_line(resnet_trt, model, photos, tmp_path):
    (photos / 'labels.tsv').write_text(TABLE)
    words = ('evaluate', model, '--images', photos)
    assert 'multi-label' in resnet_trt.refused(*words, '--confusion', 'c.csv')
    assert 'multi-label' in resnet_trt.refused(*words, '--reliability', 'r.png')
    assert 'choose above 0' in resnet_trt.refused(*words, '--score-threshold', 'nan')
    single = write_tiny_model(tmp_path / 'single.onnx')
    assert 'for multi-label models' in resnet_trt.refused(
        'evaluate', single, '--images', photos, '--score-threshold', 0.4)
    twin = write_tiny_model(tmp_path / 'twin.onnx', labels=(*LIGHTS, 'a', 'b'))
    assert 'only one of' in resnet_trt.refused(*words, '--compare', twin)
    assert 'it is multi-label' in resnet_trt.refused(
        'calibrate', model, '--images', photos, '-o', tmp_path / 'calibrated.onnx')


def test_quantize_keeps_the_scores_of_each_class(resnet_trt, model, tmp_path):
    folder = tmp_path / 'many'
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        Image.fromarray(random.integers(0, 256, (1, 1, 3), np.uint8)).resize((40, 30)).save(
            folder / f'{number}.png')
    out = tmp_path / 'int8.onnx'
    document = resnet_trt(
        'quantize', model, '--images', folder, '-o', out, '--sensitivity', tmp_path / 's.json',
        '--json').document
    assert document['same_top1'] == 1
    assert document['largest_difference'] < 0.05
    assert 0 <= document['divergence'] < 0.01
    outcome = resnet_trt('classify', out, folder, '--json', *ON_CPU)
    pixels = np.asarray(Image.open(folder / '0.png'))[None]
    found, = (one for one in outcome.document['results'] if one['source'].endswith('/0.png'))
    scores = dict(zip(LIGHTS, light_scores(pixels)[0]))
    for one in found['predictions']:
        assert one['score'] == pytest.approx(scores[one['label']], abs=0.05)
