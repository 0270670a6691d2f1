"""Networks of one channel: grey as Pillow makes it, and plain ONNX Runtime behind that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.classifiers import SIDE, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.imaging.decode import decode_message
from resnet_trt_node.imaging.resize import Resizer
from resnet_trt_node.onnx_tools.normalisation import luminance, Normalisation
from resnet_trt_node.onnx_tools.preparation.advice import advise
from resnet_trt_node.onnx_tools.preparation.prepare import prepare

FRAMES = np.random.default_rng(5).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
MEAN, STD = 127.0, 60.0


def run(path: Path, feeds: dict[str, Any]) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, feeds)[0]


def pillow_grey(frames: Any) -> Any:
    """Return uint8 (N, H, W, 1)."""
    return np.stack([np.asarray(Image.fromarray(one).convert('L')) for one in frames])[..., None]


def softmax_of_original(path: Path, frames: Any, layout: str = 'nchw',
                        dtype: Any = np.float32) -> Any:
    x = ((pillow_grey(frames) - MEAN) / STD).astype(dtype)
    x = x.transpose(0, 3, 1, 2) if layout == 'nchw' else x
    rows = run(path, {'input': x}).astype(np.float64)
    return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


def test_luminance_is_that_of_pillow_for_every_colour() -> None:
    # All reds and blues, and a green of every remainder.
    levels = np.arange(256, dtype=np.uint8)
    greens = np.random.default_rng(0).permutation(256)[:32].astype(np.uint8)
    frames = np.stack(np.meshgrid(levels, greens, levels, indexing='ij'), -1)
    frames = frames.reshape(32, 256, -1, 3)
    np.testing.assert_array_equal(luminance(frames), pillow_grey(frames))


@pytest.mark.parametrize('opset', [11, 17])
def test_the_graph_makes_it_bit_for_bit(tmp_path: Path, opset: int) -> None:
    # A network that gives its only pixel and a number that is never alike.
    constants = {'zero': np.zeros(1, np.float32), 'shape': np.array([-1, 1])}
    nodes = [
        helper.make_node('Reshape', ['input', 'shape'], ['pixel']),
        helper.make_node('Mul', ['pixel', 'zero'], ['nothing']),
        helper.make_node('Concat', ['pixel', 'nothing'], ['output'], axis=1)]
    kind = onnx.TensorProto.FLOAT
    model = helper.make_model(helper.make_graph(
        nodes, 'pixel', [helper.make_tensor_value_info('input', kind, ('n', 1, 1, 1))],
        [helper.make_tensor_value_info('output', kind, ('n', 2))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()]),
        opset_imports=[helper.make_opsetid('', opset)], ir_version=8)
    onnx.save(model, str(tmp_path / 'pixel.onnx'))
    report = prepare(
        tmp_path / 'pixel.onnx', tmp_path / 'out.onnx', mean=[0], std=[1], scale=1,
        layout='nchw')
    frames = np.random.default_rng(1).integers(0, 256, (4000, 1, 1, 3), np.uint8)
    frames[:256, 0, 0] = np.arange(256)[:, None]
    content = onnx.load(str(report.path))
    # Its logits are the pixel and 0.
    softmax, = (node for node in content.graph.node if node.op_type == 'Softmax')
    content.graph.output.append(helper.make_tensor_value_info(softmax.input[0], kind, None))
    del content.graph.output[0]
    onnx.save(content, str(tmp_path / 'logits.onnx'))
    found = run(tmp_path / 'logits.onnx', {'images': frames})[:, 0]
    np.testing.assert_array_equal(found, pillow_grey(frames).reshape(-1))
    # A picture of a mono camera stays as it is.
    np.testing.assert_array_equal(found[:256], np.arange(256))


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_numbers_are_those_of_the_original(tmp_path: Path, layout: str, dtype: Any) -> None:
    source = write_classifier(tmp_path / 'in.onnx', layout=layout, channels=1, dtype=dtype)
    report = prepare(source, tmp_path / 'out.onnx', mean=[MEAN], std=[STD])
    assert report.layout == layout
    assert report.spec.normalisation.endswith(
        'grey of RGB, 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, as Pillow)')
    found = run(report.path, {'images': FRAMES})
    np.testing.assert_allclose(
        found, softmax_of_original(source, FRAMES, layout, dtype),
        atol=1e-5 if dtype == np.float32 else 5e-3)
    assert np.ptp(found, axis=0).max() > 0.02


@pytest.mark.parametrize('encoding', ['mono8', 'rgb8', 'bgr8', 'rgba8', 'mono16'])
def test_every_encoding_arrives_as_its_grey(tmp_path: Path, encoding: str) -> None:
    source = write_classifier(tmp_path / 'in.onnx', channels=1)
    report = prepare(
        source, tmp_path / 'out.onnx', mean=[MEAN], std=[STD], resize='stretch')
    channels = {'mono8': 1, 'mono16': 1, 'rgba8': 4}.get(encoding, 3)
    dtype = np.uint16 if encoding == 'mono16' else np.uint8
    pixels = np.random.default_rng(3).integers(0, 256, (SIDE, SIDE, channels)).astype(dtype)
    if encoding == 'mono16':
        pixels *= 257

    class Message:
        height, width, step = SIDE, SIDE, SIDE * channels * dtype().itemsize
        is_bigendian = 0
        data = pixels.tobytes()

    Message.encoding = encoding
    rgb = {'mono8': lambda p: np.repeat(p, 3, 2), 'bgr8': lambda p: p[..., ::-1],
           'mono16': lambda p: np.repeat(p // 257, 3, 2).astype(np.uint8),
           'rgba8': lambda p: p[..., :3]}.get(encoding, lambda p: p)(pixels)
    row = np.empty((SIDE, SIDE, 3), np.uint8)
    Resizer(report.spec.resize, 'exact').resize(decode_message(Message()), row)
    np.testing.assert_array_equal(row, rgb)
    np.testing.assert_allclose(
        run(report.path, {'images': row[None]}), softmax_of_original(source, rgb[None]),
        atol=1e-5)


def test_what_does_not_fit_one_channel_is_refused(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', channels=1)
    with pytest.raises(UsageError, match=r'one channel: give one number for each'):
        prepare(source, tmp_path / 'out.onnx', mean=[1, 2, 3], std=[1, 2, 3], scale=255)
    with pytest.raises(UsageError, match='mean has 2 numbers'):
        Normalisation((1.0, 2.0), (1.0, 2.0))
    two = write_classifier(tmp_path / 'two.onnx', channels=2)
    with pytest.raises(ModelError, match='three channels or one'):
        prepare(two, tmp_path / 'out.onnx', mean=[0.5], std=[0.5])
    assert advise(source).words[5:9] == ('--mean', '0.5', '--std', '0.5')


def test_int8_leaves_the_luminance_alone(tmp_path: Path, capsys: Any) -> None:
    source = write_classifier(tmp_path / 'in.onnx', channels=1)
    prepare(source, tmp_path / 'out.onnx', mean=[MEAN], std=[STD], resize='stretch')
    photos = tmp_path / 'photos'
    photos.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        small = random.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE)).save(photos / f'{number}.png')
    assert main(['quantize', str(tmp_path / 'out.onnx'), '--images', str(photos), '-o',
                 str(tmp_path / 'int8.onnx'), '--json']) == 0
    capsys.readouterr()
    graph = onnx.load(str(tmp_path / 'int8.onnx')).graph
    quantised = {node.input[0] for node in graph.node if node.op_type == 'QuantizeLinear'}
    assert 'normalised' in quantised
    assert not {name for name in quantised if 'luminance' in name or 'images' in name}
    pictures = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())])
    np.testing.assert_allclose(
        run(tmp_path / 'int8.onnx', {'images': pictures}),
        softmax_of_original(source, pictures), atol=0.05)
