"""The command quantize: what it writes and reports, and what it keeps in float."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path
import re
from typing import Any, Callable
from zipfile import ZipFile

from bags.image_bags import BagWriter
from bags.sample_bags import PERIOD_NS, pixels_of, START_NS
from commands.quantize_command import answers, quantize
from documentation.json_schemas import checked
from models.classifiers import write_classifier
from models.tiny_model import write_tiny_model
import numpy as np
import onnx
from onnx import numpy_helper
from pictures.calibration_pictures import clouds, COUNT, write_pictures
from PIL import Image
import pytest
from resnet_trt_node.backends.onnxruntime_session import CpuSession
from resnet_trt_node.backends.tensorrt.builder import EngineBuilder
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.cli.models import quantize as command
from resnet_trt_node.cli.support.example_frames import read_frames
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.evaluation.outcomes import wilson_interval
from resnet_trt_node.onnx_tools.preparation.prepare import prepare

#: The layer that int8 ruins in the model of that name.
FRAGILE = 'layer2.1.conv2'


@pytest.fixture(scope='module')
def fragile(fp32: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """
    Return the model with one layer that int8 ruins.

    Its first input is silenced, so the large weights for it change nothing in float; but each
    output's 255 levels cover them, and the weights that count are rounded to zero.
    """
    model = onnx.load(str(fp32))
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    before = FRAGILE.replace('conv2', 'conv1')
    for name, place, value in ((f'{before}.weight', (0,), 0.0), (f'{before}.bias', (0,), -1.0),
                               (f'{FRAGILE}.weight', (slice(None), 0), 90.0)):
        values = numpy_helper.to_array(weights[name]).copy()
        values[place] = value
        weights[name].CopyFrom(numpy_helper.from_array(values, name))
    path = tmp_path_factory.mktemp('fragile') / 'fragile.onnx'
    onnx.save(model, str(path))
    return path


def ranges(model: Path) -> dict[str, float]:
    """Return the magnitude that each activation's levels cover."""
    return {tensor.name[:-len(':scale')]: float(numpy_helper.to_array(tensor)) * 127
            for tensor in onnx.load(str(model)).graph.initializer
            if tensor.name.endswith(':scale') and not tensor.dims}


def float_layers(model: Path) -> list[str]:
    """Return the layers without a rounded input, but for the one that normalises."""
    return [node.name for node in onnx.load(str(model)).graph.node
            if node.op_type in ('Conv', 'Gemm') and node.name != 'normalise'
            and not any(name.endswith(':rounded') for name in node.input)]


def test_the_report_is_what_the_file_does(
        fp32: Path, pictures: Path, tmp_path: Path, report_on: Callable[..., Any]) -> None:
    out = tmp_path / 'new' / 'int8.onnx'
    report = report_on(fp32, pictures, out)
    assert list(out.parent.iterdir()) == [out]
    spec, before = read_model_spec(out), read_model_spec(fp32)
    assert (spec.precision, spec.labels, spec.resize) == ('int8', before.labels, before.resize)
    frames, _ = read_frames(str(pictures), None, before, COUNT, 0)
    held_out = frames[np.sort(np.random.default_rng(0).permutation(COUNT)[:COUNT // 5])]
    exact, rounded = answers(fp32, held_out), answers(out, held_out)
    same = int((exact.argmax(1) == rounded.argmax(1)).sum())
    assert report['same_top1'] == same / 8 >= 0.75
    assert report['same_top1_95'] == list(wilson_interval(same, 8))
    assert report['largest_difference'] == pytest.approx(np.abs(exact - rounded).max(), abs=1e-6)
    assert report['divergence'] == pytest.approx(
        (exact * np.log(exact / rounded)).sum(axis=1).mean(), abs=1e-6)
    assert 0 < report['divergence'] < 0.05
    assert {name: report[name] for name in (
        'path', 'method', 'percentile', 'pictures', 'calibrated_on', 'compared_on',
        'int8_layers', 'float_layers', 'sensitivity')} == {
        'path': str(out), 'method': 'percentile', 'percentile': 99.99,
        'pictures': '40 of pictures', 'calibrated_on': 32, 'compared_on': 8,
        'int8_layers': 21, 'float_layers': [], 'sensitivity': []}
    # Weights stay float in the file; the engine packs them.
    assert report['size_bytes'] == out.stat().st_size > report['fp32_size_bytes']
    assert report['fp32_size_bytes'] == fp32.stat().st_size


def test_each_method_chooses_ranges_of_its_own(
        fp32: Path, pictures: Path, int8: Path, tmp_path: Path,
        report_on: Callable[..., Any]) -> None:
    frames, _ = read_frames(str(pictures), None, read_model_spec(fp32), COUNT, 0)
    used = np.delete(frames, np.random.default_rng(0).permutation(COUNT)[:COUNT // 5], axis=0)
    model = onnx.load(str(fp32))
    model.graph.output.append(
        onnx.helper.make_tensor_value_info('normalise', onnx.TensorProto.FLOAT, None))
    normalised, = CpuSession(model.SerializeToString(), 'r18').run(['normalise'], {'images': used})
    widest = ranges(int8)
    # Of the pictures that were not held out, as the node would fit and normalise them.
    assert widest['normalise'] == pytest.approx(
        np.abs(normalised).max(), rel=1e-6)
    found = {}
    for name, words in (('entropy', ('--method', 'entropy')), ('99.99', ()),
                        ('90', ('--percentile', 90))):
        report = report_on(fp32, pictures, tmp_path / 'out.onnx', *words)
        assert report['percentile'] == (None if name == 'entropy' else float(name))
        found[name] = ranges(tmp_path / 'out.onnx')
        assert found[name].keys() == widest.keys()
        # A range ends at the edge of a bin.
        assert all(found[name][key] <= widest[key] * 1.001 for key in widest)
    assert all(found['90'][key] < found['99.99'][key] for key in widest)
    assert found['entropy'] not in (widest, found['99.99'])


def test_folders_zip_files_and_bags_of_the_same_pictures_give_the_same_file(
        fp32: Path, pictures: Path, int8: Path, tmp_path: Path, report_on: Callable[..., Any],
        refused: Callable[..., str]) -> None:
    with ZipFile(tmp_path / 'data.zip', 'w') as archive:
        for path in sorted(pictures.iterdir()):
            archive.write(path, f'train/{path.name}')
        archive.writestr('val/broken.png', b'no picture')
    with BagWriter(tmp_path / 'drive') as bag:
        for number, frame in enumerate(clouds()):
            stamp_ns = START_NS + number * PERIOD_NS
            bag.write_image('/front/image', frame, stamp_ns, 'front', 'rgb8')
            bag.write_image('/rear/image', pixels_of(number), stamp_ns, 'rear')
    sources = ((tmp_path / 'data.zip' / 'train', (), '40 of train'),
               (tmp_path / 'drive', ('--topic', '/front/image'), '40 of drive'))
    out = tmp_path / 'out.onnx'
    for source, words, name in sources:
        report = report_on(fp32, source, out, '--method', 'minmax', *words)
        assert (report['pictures'], report['calibrated_on']) == (name, 32)
        assert out.read_bytes() == int8.read_bytes()
    out.unlink()
    # The rear camera's frames are independent pixels.
    assert '40 of 80 ' in refused(fp32, tmp_path / 'drive')
    message = refused(fp32, tmp_path / 'drive', '--topic', '/left/image')
    assert 'no topic /left/image' in message
    assert '--topic' in refused(fp32, pictures, '--topic', '/front/image')
    (tmp_path / 'drive' / 'metadata.yaml').unlink()
    report = report_on(
        fp32, tmp_path / 'drive', out, '--method', 'minmax', '--topic', '/front/image')
    assert report['calibrated_on'] == 32
    assert 'no metadata.yaml' in report['pictures']
    assert out.read_bytes() == int8.read_bytes()


def test_a_camera_that_stands_still_is_calibrated_on_what_differs(
        fp32: Path, int8: Path, tmp_path: Path, report_on: Callable[..., Any]) -> None:
    with BagWriter(tmp_path / 'drive') as bag:
        for number, frame in enumerate(np.repeat(clouds(), 3, axis=0)):
            bag.write_image('/image', frame, START_NS + number * PERIOD_NS, 'front', 'rgb8')
    report = report_on(fp32, tmp_path / 'drive', tmp_path / 'out.onnx', '--method', 'minmax')
    assert re.search('120 of drive; 80 ', report['pictures'])
    assert (report['calibrated_on'], report['compared_on']) == (32, 8)
    assert (tmp_path / 'out.onnx').read_bytes() == int8.read_bytes()


def test_a_broken_frame_of_a_bag_is_named(
        fp32: Path, tmp_path: Path, refused: Callable[..., str]) -> None:
    with BagWriter(tmp_path / 'drive') as bag:
        for number, frame in enumerate(clouds()):
            data = BytesIO()
            Image.fromarray(frame).save(data, 'PNG')
            whole = data.getvalue()
            bag.write_compressed(
                '/image/compressed', whole[:999] if number == 7 else whole, 'png',
                number * 10**9, 'camera')
    assert '/drive, /image/compressed 7.000000000: ' in refused(fp32, tmp_path / 'drive')


def test_a_limit_takes_of_all_cameras(
        fp32: Path, pictures: Path, tmp_path: Path, report_on: Callable[..., Any]) -> None:
    report = report_on(fp32, pictures, tmp_path / 'out.onnx', '--method', 'minmax', '--limit', 34)
    assert (report['pictures'], report['calibrated_on'], report['compared_on']) == (
        '34 of pictures', 28, 6)
    with BagWriter(tmp_path / 'drive') as bag:
        for number in range(100):
            for camera in range(4):
                bag.write_image(
                    f'/{camera}/image', np.full((8, 8, 3), 60 * camera, np.uint8),
                    START_NS + number * PERIOD_NS + camera, 'camera')
    for limit in (100, 200):
        frames, _ = read_frames(
            str(tmp_path / 'drive'), None, read_model_spec(fp32), limit, 0)
        counts = np.bincount(frames[:, 0, 0, 0] // 60)
        assert counts.sum() == limit
        assert counts.min() > limit / 5


def test_layers_stay_in_float_by_name(
        fp32: Path, pictures: Path, tmp_path: Path, report_on: Callable[..., Any],
        refused: Callable[..., str]) -> None:
    out = tmp_path / 'out.onnx'
    words = ('--method', 'minmax', '--keep-float', 'fc', '--keep-float', 'conv1')
    report = report_on(fp32, pictures, out, *words)
    assert (report['float_layers'], report['int8_layers']) == (['conv1', 'fc'], 19)
    assert sorted(float_layers(out)) == ['conv1', 'fc']
    message = refused(fp32, pictures, '--keep-float', 'layer2.1.conv3')
    assert re.search(r'layer2\.1\.conv3: .*layer2\.1\.conv2', message)
    everything = [node.name for node in onnx.load(str(fp32)).graph.node
                  if node.op_type in ('Conv', 'Gemm')][1:]
    named = [word for name in everything for word in ('--keep-float', name)]
    assert 'nothing is left' in refused(fp32, pictures, *named)
    assert '--keep-worst 1: choose 0 to 0' in refused(
        fp32, pictures, *named[2:], '--keep-worst', 1)
    rtx = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    built = EngineBuilder(
        rtx, out, out.read_bytes(), TensorRtOptions(target_sm='8.9', precision='int8'),
        ((1, 4, 4),)).build()
    assert built.spec.precision == 'int8'


def test_the_layer_that_hurts_is_found_and_kept(
        fragile: Path, pictures: Path, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    words = (fragile, pictures, tmp_path / 'out.onnx', '--method', 'minmax')
    assert quantize(*words) == 0
    printed = capsys.readouterr()
    assert '--sensitivity OUT.json' in printed.err
    assert f'{tmp_path / "out.onnx"}: int8, minmax, 21 layers\n' in printed.out
    file = tmp_path / 'new' / 'layers.json'
    assert quantize(*words, '--sensitivity', file, '--keep-worst', 1) == 0
    assert float_layers(tmp_path / 'out.onnx') == [FRAGILE]
    ranking = checked(file.read_text())['layers']
    assert len(ranking) == len({one['layer'] for one in ranking}) == 21
    assert ranking[0]['layer'] == FRAGILE
    assert ranking[0]['agreement'] < 0.8
    assert ranking[0]['divergence'] > 100 * ranking[1]['divergence'] > 0
    # Layers that are named anyway do not count.
    assert quantize(*words, '--keep-float', FRAGILE, '--keep-worst', 1) == 0
    assert len(float_layers(tmp_path / 'out.onnx')) == 2
    capsys.readouterr()
    assert quantize(*words, '--sensitivity', file, '--keep-worst', 1) == 0
    costs = [one['divergence'] for one in ranking]
    assert costs == sorted(costs, reverse=True)
    printed = capsys.readouterr()
    # Of eight pictures one or two lie so near a tie that rounding names them otherwise.
    assert printed.err == '' or printed.err.startswith('only 75.0 % of the answers')
    lines = printed.out.splitlines()
    assert lines[0].endswith(f'int8, minmax, 20 layers, in float {FRAGILE}')
    assert re.search('32 pictures: 40 of pictures', lines[1])
    assert re.search(
        r'  (100\.0|87\.5|75\.0) % .* 8 .*95 % .*divergence \S+e-\d+, .* 0\.\d{3}', lines[2])
    assert lines[3].split() == ['layer', 'divergence', 'same', 'top-1']
    assert [line.split()[0] for line in lines[4:14]] == [one['layer'] for one in ranking[:10]]
    last, = lines[14:]
    assert ' 11 layers' in last


def test_models_are_compared_on_frames_that_ranges_are_not_from(
        fp32: Path, pictures: Path, tmp_path: Path, report_on: Callable[..., Any],
        monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[bytes]] = []

    def note(original: Callable[..., Any], *values: Any) -> Any:
        seen.extend({frame.tobytes() for frame in value} for value in values
                    if isinstance(value, np.ndarray))
        return original(*values)

    for name in ('_quantize', '_compare'):
        monkeypatch.setattr(command, name, partial(note, getattr(command, name)))
    report_on(fp32, pictures, tmp_path / 'out.onnx', '--method', 'minmax')
    used, compared = seen
    assert (len(used), len(compared), len(used & compared)) == (32, 8, 0)
    # At random, and so that a run can be repeated.
    held_out = np.flatnonzero(command._held_out(100))
    assert len(held_out) == 20
    assert len(set(held_out % 5)) == 5
    assert len(set(held_out // 20)) == 5
    np.testing.assert_array_equal(held_out, np.flatnonzero(command._held_out(100)))


def test_two_pictures_are_the_fewest(
        fp32: Path, tmp_path: Path, report_on: Callable[..., Any]) -> None:
    two = write_pictures(tmp_path / 'two', clouds()[:2])
    report = report_on(fp32, two, tmp_path / 'out.onnx', '--method', 'minmax', '--min-pictures', 2)
    assert (report['calibrated_on'], report['compared_on']) == (1, 1)


@pytest.mark.slow
def test_models_of_other_tools_are_quantised(
        pictures: Path, tmp_path: Path, report_on: Callable[..., Any]) -> None:
    """Old opsets know no scales by channel, nodes need no names, Gemm may hold (K, N) weights."""
    plain = write_classifier(tmp_path / 'plain.onnx', opset=11)
    prepare(plain, tmp_path / 'old.onnx', mean=(127,), std=(128,))
    report = report_on(tmp_path / 'old.onnx', pictures, tmp_path / 'out.onnx')
    assert report['int8_layers'] == 1
    assert report['largest_difference'] < 0.1
    colours = write_tiny_model(tmp_path / 'colours.onnx')
    report = report_on(colours, pictures, tmp_path / 'out.onnx', '--method', 'minmax',
                       '--sensitivity', tmp_path / 'layers.json')
    assert [one['layer'] for one in report['sensitivity']] == ['logits']
    assert checked((tmp_path / 'layers.json').read_text())['layers'] == report['sensitivity']
    constants = {tensor.name: numpy_helper.to_array(tensor)
                 for tensor in onnx.load(str(tmp_path / 'out.onnx')).graph.initializer}
    np.testing.assert_allclose(
        constants['weights:scale'],
        np.maximum(np.abs(constants['weights']).max(axis=0), 1e-8) / 127, rtol=1e-6)
