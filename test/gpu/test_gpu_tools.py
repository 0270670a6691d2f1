"""What the GPU benchmark computes without a GPU: fronts, roofline, statistics, the page."""

from __future__ import annotations

import json
from pathlib import Path
import shutil

import numpy as np
import onnx
import onnxruntime
from PIL import Image
import pytest

from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet
from tools.gpu.bench_tensorrt import CASES, print_table, results_of, STEPS, write
from tools.gpu.export_models import subtract_mean
from tools.gpu.prepare_frames import main as prepare_frames
from tools.gpu.roofline import floor_ms, layers_of
from tools.gpu.sitting_results import Sitting
from tools.gpu.steps import growth, summary
from tools.gpu.targets import targets
from tools.performance_page import page, plot

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp('gpu') / 'r18.onnx'
    export_resnet('resnet18', 'random', path)
    return onnx.load(str(path))


def test_subtracting_the_mean_computes_the_same(model):
    frames = sample_frames(2, 224, 224, 1)

    def answers(graph):
        session = onnxruntime.InferenceSession(
            graph.SerializeToString(), providers=['CPUExecutionProvider'])
        return session.run(None, {'images': frames})[0]
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    subtract_mean(changed)
    onnx.checker.check_model(changed, full_check=True)
    np.testing.assert_allclose(answers(changed), answers(model), atol=1e-5)


def test_the_roofline_counts_what_the_network_does(model):
    layers = layers_of(model)
    # Published for ResNet-18 at 224: 1.82 billion multiply-adds and 11.7 million parameters.
    assert sum(layer['flops'] for layer in layers) == pytest.approx(2 * 1.82e9, rel=0.01)
    assert sum(layer['weights'] for layer in layers) == pytest.approx(11.69e6, rel=0.01)
    first = next(layer for layer in layers if layer['name'] == 'conv1')
    assert first == {
        'name': 'conv1', 'flops': 2 * 64 * 112 * 112 * 3 * 49,
        'elements': 3 * 224 * 224 + 64 * 112 * 112, 'weights': 64 * 3 * 49 + 64}
    # The second convolution of a block reads its shortcut as well.
    second = next(layer for layer in layers if layer['name'] == 'layer1.0.conv2')
    assert second['elements'] == 3 * 64 * 56 * 56


def test_the_floor_is_the_longer_of_computing_and_moving_in_each_layer():
    layers = [{'flops': 100, 'elements': 1, 'weights': 2}, {'flops': 1, 'elements': 30,
                                                            'weights': 10}]
    # First: 2 * 100 / 10 = 20 s of arithmetic; second: (2 * 30 + 10) * 2 / 7 = 20 s of bytes.
    assert floor_ms(layers, 2, 2, 10, 7) == pytest.approx(40_000)


def test_statistics():
    found = summary([1_000_000] * 99 + [3_000_000])
    assert (found['runs'], found['min_ms'], found['p50_ms']) == (100, 1.0, 1.0)
    assert found['p99_ms'] == pytest.approx(1.02)
    grown = growth(30, [(0, 0, 9 << 20), (10, 1 << 20, 8 << 20), (30, 3 << 20, 7 << 20)], 10)
    assert (grown['host_growth_mib'], grown['device_growth_mib']) == (2.0, 1.0)


def rates(value):
    return {'p50_images_s': value}


SITTING = {
    'tensorrt': {
        'machine': {'gpu': 'Card A', 'tensorrt': '8.6.0'},
        'fp16': {
            'case': {'model': 'fp16', 'batch': 64, 'level': 3}, 'build_s': 100.0,
            'latency': {'ours': {'p50_ms': 0.35, 'p99_ms': 0.40, 'runs': 800},
                        'bare_graph': {'p50_ms': 0.345, 'p99_ms': 0.39, 'runs': 800}},
            'throughput': {'ours_2_buffers': rates(29_000.0), 'bare_gpu_only': rates(29_500.0)}},
        'int8': {
            'case': {'model': 'int8', 'batch': 64, 'level': 2}, 'build_s': 90.0,
            'throughput': {'ours_2_buffers': rates(31_000.0), 'bare_gpu_only': rates(31_200.0)}},
        'int8_plain': {'error': 'exit status 1', 'log': 'mergeScales'}},
    'torch': {
        'torch': '2.11', 'throughput': {'compile_b64_gpu_only': rates(21_000.0)},
        'ceilings': {'fp16_flops_s': 8e14, 'int8_flops_s': 1.6e15, 'bytes_s': 3e12}},
    'layers': [{'name': 'conv1', 'flops': 8e9, 'elements': 2e7, 'weights': 2e7}],
}


@pytest.mark.parametrize('packed', [True, False])
def test_pictures_become_frames_with_their_classes(tmp_path, monkeypatch, capsys, packed):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    for name, red in (('a.png', 200), ('b.JPG', 100), ('nameless.png', 0)):
        Image.new('RGB', (300, 260), (red, 0, 0)).save(folder / name)
    (folder / 'labels.tsv').write_text('file\tclass\nb.JPG\t7\na.png\t3\n')
    source = Path(shutil.make_archive(str(folder), 'zip', folder)) if packed else folder
    monkeypatch.setattr('sys.argv', ['prepare_frames', str(source), str(tmp_path / 'frames.npy')])
    prepare_frames()
    assert '1 pictures without' in capsys.readouterr().out
    frames = np.load(tmp_path / 'frames.npy')
    assert frames.shape == (2, 224, 224, 3)
    order = np.argsort(frames[:, 0, 0, 0])
    assert list(np.load(tmp_path / 'frames.labels.npy')[order]) == [7, 3]


def test_a_folder_without_pictures_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr('sys.argv', ['prepare_frames', str(tmp_path), str(tmp_path / 'out.npy')])
    with pytest.raises(SystemExit, match='no pictures'):
        prepare_frames()


def test_goals_are_judged_and_the_page_holds_the_figures():
    verdicts = [target.verdict for target in targets(Sitting(SITTING))]
    assert verdicts == ['reached'] * 5 + ['missed'] + ['not measured'] * 4
    text = page(Sitting(SITTING), 'The additions ran in fp32.')
    assert 'Card A, TensorRT 8.6.0' in text
    assert '| fp16 | 64 | 3 | 100 | 29,000 | 29,500 | 0.983 |' in text
    assert '- int8_plain: exit status 1' in text
    assert text.endswith('### Why\n\nThe additions ran in fp32.\n')
    assert plot(Sitting(SITTING)).count('<rect') == 4  # background, fp16, int8, MLPerf


def test_the_page_of_an_empty_sitting_has_no_numbers():
    assert {target.verdict for target in targets(Sitting({}))} == {'not measured'}
    assert 'Not measured.' in page(Sitting({}), '')


def test_a_table_shows_failures(tmp_path, capsys):
    write(tmp_path / 'int8_plain.json', {'error': 'exit status 1', 'log': 'mergeScales'})
    write(tmp_path / 'fp16.json', {**SITTING['tensorrt']['fp16'], 'step_s': 1})
    print_table(tmp_path)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith('fp16')
    assert 'ours 0.350/0.400 ms' in lines[0]
    assert lines[1].startswith('int8_plain')
    assert 'mergeScales' in lines[1]
    assert list(results_of(tmp_path)) == ['fp16', 'int8_plain']
    assert json.loads((tmp_path / 'fp16.json').read_text())['build_s'] == 100.0
    assert set(CASES) < set(STEPS)
