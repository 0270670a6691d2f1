"""Classifiers of uint8 pixels that normalise themselves; plain ONNX Runtime is the reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.classifiers import SIDE, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
from PIL import Image
import pytest
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import UsageError
from resnet_trt_node.onnx_tools.contract_check import check_contract
from resnet_trt_node.onnx_tools.preparation.advice import advise
from resnet_trt_node.onnx_tools.preparation.prepare import prepare

FRAMES = np.random.default_rng(5).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)


def run(path: Path, feeds: dict[str, Any]) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, feeds)[0]


def write_pixel_classifier(
        path: Path, layout: str = 'nchw', start: str = 'Cast', channels: int = 3,
        batch: Any = None, dtype: Any = np.float32) -> Path:
    """
    Write `write_classifier`'s network behind a normalisation of uint8 pixels.

    :param start: 'Cast', 'Transpose' (of uint8, then the cast; for nhwc), or 'DequantizeLinear'.
    """
    model = onnx.load(str(write_classifier(path, channels=channels, batch=batch, dtype=dtype)))
    graph = model.graph
    nodes, x = [], 'pixels'
    if layout == 'nhwc' and start == 'Transpose':
        nodes.append(helper.make_node('Transpose', [x], ['moved'], perm=[0, 3, 1, 2]))
        x = 'moved'
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    if start == 'DequantizeLinear':
        nodes.append(helper.make_node('DequantizeLinear', [x, 'step', 'middle'], ['floats']))
        graph.initializer.extend([
            numpy_helper.from_array(np.float32(1 / 64), 'step'),
            numpy_helper.from_array(np.uint8(128), 'middle')])
        x = 'floats'
    else:
        nodes += [helper.make_node('Cast', [x], ['floats'], to=kind),
                  helper.make_node('Sub', ['floats', 'middle'], ['centred']),
                  helper.make_node('Div', ['centred', 'step'], ['scaled'])]
        graph.initializer.extend([
            numpy_helper.from_array(np.array(128, dtype), 'middle'),
            numpy_helper.from_array(np.array(64, dtype), 'step')])
        x = 'scaled'
    if layout == 'nhwc' and start != 'Transpose':
        nodes.append(helper.make_node('Transpose', [x], ['turned'], perm=[0, 3, 1, 2]))
        x = 'turned'
    old = list(graph.node)
    old[0].input[0] = x
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    n = 'batch' if batch is None else batch
    shape = (n, channels, SIDE, SIDE) if layout == 'nchw' else (n, SIDE, SIDE, channels)
    graph.input[0].CopyFrom(helper.make_tensor_value_info('pixels', TensorProto.UINT8, shape))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
    return path


def expected(path: Path, pixels: Any, layout: str) -> Any:
    x = pixels.transpose(0, 3, 1, 2) if layout == 'nchw' else pixels
    rows = np.concatenate([run(path, {'pixels': one[None]}) for one in x]).astype(np.float64)
    return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


def uint8_readers(path: Path) -> set[str]:
    """Return the operators that read a uint8 tensor, as shapes and types are inferred."""
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)), strict_mode=True)
    values = (*model.graph.input, *model.graph.value_info, *model.graph.output)
    pixels = {one.name for one in values if one.type.tensor_type.elem_type == TensorProto.UINT8}
    return {node.op_type for node in model.graph.node if pixels & set(node.input)}


@pytest.mark.parametrize(('layout', 'start'), [
    ('nchw', 'Cast'), ('nhwc', 'Cast'), ('nhwc', 'Transpose')])
@pytest.mark.parametrize('dtype', [np.float32, np.float16])
def test_numbers_are_those_of_the_original(
        tmp_path: Path, layout: str, start: str, dtype: Any) -> None:
    source = write_pixel_classifier(tmp_path / 'in.onnx', layout, start, dtype=dtype)
    report = prepare(source, tmp_path / 'out.onnx')
    assert report.layout == layout
    assert report.spec.normalisation == 'pixels of 0 to 255 as they are, RGB'
    assert report.spec.precision == ('fp32' if dtype == np.float32 else 'fp16')
    found = run(report.path, {'images': FRAMES})
    np.testing.assert_allclose(
        found, expected(source, FRAMES, layout), atol=1e-5 if dtype == np.float32 else 5e-3)
    assert np.ptp(found, axis=0).max() > 0.02
    # TensorRT takes uint8 only where a cast reads it.
    assert uint8_readers(report.path) == {'Cast'}
    assert check_contract(report.path).deployable


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_what_needs_uint8_gets_it(tmp_path: Path, layout: str) -> None:
    source = write_pixel_classifier(tmp_path / 'in.onnx', layout, 'DequantizeLinear')
    report = prepare(source, tmp_path / 'out.onnx')
    np.testing.assert_allclose(
        run(report.path, {'images': FRAMES}), expected(source, FRAMES, layout), atol=1e-5)


@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_blue_first_grey_and_a_fixed_batch(tmp_path: Path, layout: str) -> None:
    source = write_pixel_classifier(tmp_path / 'in.onnx', layout, batch=1)
    report = prepare(source, tmp_path / 'bgr.onnx', channel_order='bgr')
    np.testing.assert_allclose(
        run(report.path, {'images': FRAMES}), expected(source, FRAMES[..., ::-1], layout),
        atol=1e-5)
    assert report.fixed_batch == 1
    source = write_pixel_classifier(tmp_path / 'in.onnx', layout, channels=1)
    report = prepare(source, tmp_path / 'grey.onnx')
    grey = np.stack([np.asarray(Image.fromarray(one).convert('L')) for one in FRAMES])[..., None]
    np.testing.assert_allclose(
        run(report.path, {'images': FRAMES}), expected(source, grey, layout), atol=1e-5)
    assert uint8_readers(report.path) == {'Cast'}


def test_a_normalisation_is_neither_asked_for_nor_taken(tmp_path: Path, capsys: Any) -> None:
    source = write_pixel_classifier(tmp_path / 'in.onnx')
    for options in ({'mean': [127], 'std': [128]}, {'std': [255]}, {'scale': 255.0}):
        with pytest.raises(UsageError, match='leave out --mean, --std and --scale'):
            prepare(source, tmp_path / 'out.onnx', **options)
    prepare(source, tmp_path / 'out.onnx', mean=[0], std=[1], scale=1.0)
    floats = write_classifier(tmp_path / 'float.onnx')
    with pytest.raises(UsageError, match='pass --mean and --std'):
        prepare(floats, tmp_path / 'out.onnx', mean=[127])
    assert main(['prepare', str(source), '-o', str(tmp_path / 'out.onnx')]) == 0
    assert 'input    NCHW, pixels of 0 to 255 as they are, RGB' in capsys.readouterr().out
    assert not {'--mean', '--std'} & set(advise(source).words)


def test_int8_keeps_the_answers(tmp_path: Path, capsys: Any) -> None:
    source = write_pixel_classifier(tmp_path / 'in.onnx')
    prepare(source, tmp_path / 'out.onnx', resize='stretch')
    photos = tmp_path / 'photos'
    photos.mkdir()
    random = np.random.default_rng(0)
    for number in range(40):
        small = random.integers(0, 256, (4, 4, 3), np.uint8)
        Image.fromarray(small).resize((SIDE, SIDE)).save(photos / f'{number}.png')
    assert main(['quantize', str(tmp_path / 'out.onnx'), '--images', str(photos), '-o',
                 str(tmp_path / 'int8.onnx'), '--json']) == 0
    capsys.readouterr()
    pictures = np.stack([np.asarray(Image.open(path)) for path in sorted(photos.iterdir())])
    np.testing.assert_allclose(
        run(tmp_path / 'int8.onnx', {'images': pictures}), expected(source, pictures, 'nchw'),
        atol=0.05)
