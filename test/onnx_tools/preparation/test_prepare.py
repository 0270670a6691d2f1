"""Classifiers from elsewhere become deployable, or are refused with the reason."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any
import warnings

from models.classifiers import CLASSES, SIDE, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from resnet_trt_node.contract.model_file import file_sha256, read_model_spec
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import LabelsError, ModelError, ResnetTrtError, UsageError
from resnet_trt_node.onnx_tools.deployable import WrittenModel
from resnet_trt_node.onnx_tools.preparation.prepare import prepare

FRAMES = np.random.default_rng(5).integers(0, 256, (5, SIDE, SIDE, 3), np.uint8)
MEAN, STD = (100.0, 110.0, 120.0), (50.0, 55.0, 60.0)


def _run(path: Path, feeds: dict[str, Any]) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    return session.run(None, feeds)[0]


def _expected(path: Path, layout: str = 'nchw', softmax: bool = True,
              dtype: Any = np.float32, bgr: bool = False) -> Any:
    """Run the original picture by picture, normalised as its users would."""
    pixels = FRAMES[..., ::-1] if bgr else FRAMES
    x = ((pixels - np.array(MEAN)) / np.array(STD)).astype(dtype)
    if layout == 'nchw':
        x = x.transpose(0, 3, 1, 2)
    name = onnx.load(str(path)).graph.input[0].name
    rows = np.concatenate([_run(path, {name: x[i:i + 1]}) for i in range(len(x))])
    rows = rows.reshape(len(x), -1).astype(np.float64)
    return np.exp(rows) / np.exp(rows).sum(1, keepdims=True) if softmax else rows


@pytest.mark.parametrize('ends', ['logits', 'probabilities', 'decomposed', 'four'])
@pytest.mark.parametrize('layout', ['nchw', 'nhwc'])
def test_numbers_are_those_of_the_original(tmp_path: Path, layout: str, ends: str) -> None:
    source = write_classifier(tmp_path / 'in.onnx', layout=layout, ends=ends, norm=True)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    logits = ends in ('logits', 'four')
    assert report.activation == ('softmax' if logits else 'none')
    assert report.layout == layout
    found = _run(report.path, {'images': FRAMES})
    np.testing.assert_allclose(found, _expected(source, layout, logits), atol=1e-5)
    # The rows differ, so that a model that ignores its input would not pass.
    assert np.ptp(found, axis=0).max() > 0.02
    operators = Counter(node.op_type for node in onnx.load(str(report.path)).graph.node)
    assert operators['BatchNormalization'] == 0
    assert operators['Transpose'] == 1


@pytest.mark.parametrize('flatten', ['constant', 'arithmetic', 'minus one'])
@pytest.mark.parametrize('batch', [None, 1, 2])
def test_the_batch_becomes_dynamic_and_shape_arithmetic_goes(
        tmp_path: Path, flatten: str, batch: Any) -> None:
    if flatten == 'constant' and batch is None:
        batch = 1
    source = write_classifier(tmp_path / 'in.onnx', flatten=flatten, batch=batch)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert report.fixed_batch == batch
    operators = {node.op_type for node in onnx.load(str(report.path)).graph.node}
    assert not operators & {'Shape', 'Gather', 'Concat', 'Unsqueeze', 'Reshape', 'Constant'}
    assert 'Flatten' in operators
    free = write_classifier(tmp_path / 'free.onnx')
    for size in (1, 5):
        np.testing.assert_allclose(
            _run(report.path, {'images': FRAMES[:size]}), _expected(free)[:size], atol=1e-5)


def test_a_batch_that_cannot_be_freed_is_reported(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', batch=1)
    model = onnx.load(str(source))
    model.graph.initializer.append(
        numpy_helper.from_array(np.ones((1, CLASSES), np.float32), 'row'))
    model.graph.node[-1].output[0] = 'before'
    model.graph.node.extend([
        helper.make_node('Concat', ['before', 'row'], ['both'], axis=0),
        helper.make_node('ReduceMean', ['both'], ['output'], axes=[0], keepdims=1)])
    onnx.save(model, str(source))
    with pytest.raises(ModelError, match=r'batch of 1 .*dynamic batch'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert not (tmp_path / 'out.onnx').exists()


def test_a_bgr_model_gets_its_channels(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx')
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD, channel_order='bgr')
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source, bgr=True), atol=1e-5)
    assert not np.allclose(_expected(source, bgr=True), _expected(source), atol=1e-2)


def test_an_fp16_model_stays_fp16(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', dtype=np.float16)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert report.spec.precision == 'fp16'
    model = onnx.load(str(report.path))
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    assert model.graph.node[-1].op_type == 'Softmax'
    assert model.graph.node[-2].op_type == 'Cast'
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source, dtype=np.float16), atol=1e-2)


@pytest.mark.parametrize('names', [('images', 'probabilities'), ('normalised', 'images_float')])
def test_names_of_the_original_do_not_collide(tmp_path: Path, names: tuple[str, str]) -> None:
    source = write_classifier(tmp_path / 'in.onnx', names=names)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source), atol=1e-5)


@pytest.mark.parametrize('changes', [
    {'opset': 13}, {'side': None}, {'external': True}, {'side': None, 'layout': 'nhwc'}])
def test_other_forms_of_file_work(tmp_path: Path, changes: dict[str, Any]) -> None:
    source = write_classifier(tmp_path / 'in.onnx', **changes)
    crop = SIDE if 'side' in changes else None
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD, crop=crop)
    assert (report.spec.height, report.spec.width) == (SIDE, SIDE)
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source, report.layout), atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir() if 'out' in path.name) == ['out.onnx']


def test_what_is_asked_for_goes_into_the_metadata(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'small-net.onnx')
    report = prepare(
        source, tmp_path / 'out.onnx', mean=[0.5], std=[0.25], resize=20,
        interpolation='bicubic', labels=list('abcdef'))
    spec = read_model_spec(report.path)
    assert spec.resize == ResizeRule(20, SIDE, SIDE, 'bicubic')
    assert spec.labels == tuple('abcdef')
    assert (spec.architecture, spec.source) == ('small-net', 'small-net.onnx')
    assert spec.source_sha256 == file_sha256(source)
    assert report.spec.normalisation == '(pixel / 255 - [0.5, 0.5, 0.5]) / [0.25, 0.25, 0.25], RGB'
    assert report.max_abs_difference <= report.bound
    stretched = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD, resize='stretch')
    assert stretched.spec.resize == ResizeRule(None, SIDE, SIDE, 'bilinear')
    usual = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert usual.spec.resize.short_side == 18


@pytest.mark.parametrize(('made', 'asked', 'error', 'keyword'), [
    ({}, {'mean': [0], 'std': [1]}, UsageError, '--scale 1 or --scale 255'),
    ({}, {'mean': [1, 2]}, UsageError, 'mean has 2 numbers'),
    ({}, {'std': [0]}, UsageError, 'std .*positive'),
    ({}, {'std': [float('nan')]}, UsageError, 'finite'),
    ({}, {'crop': 224}, UsageError, '16x16, --crop 224'),
    ({}, {'resize': 8}, ModelError, 'short side of 8'),
    ({}, {'labels': list('abc')}, LabelsError, '3 labels, .* 6 classes'),
    ({}, {'output': 'logits'}, UsageError, r"'logits': .*output \(batch, 6"),
    ({}, {'layout': 'nhwc'}, ModelError, r'\(batch, 3, 16, 16\): no nhwc'),
    ({'side': 3}, {}, UsageError, '--layout nchw'),
    ({}, {'layout': 'chwn'}, UsageError, "layout 'chwn'"),
    ({}, {'channel_order': 'yuv'}, UsageError, "order 'yuv'"),
    ({}, {'activation': 'relu'}, UsageError, "activation 'relu'"),
    ({}, {'activation': 'none'}, UsageError, 'not to 1: .*softmax'),
    ({'ends': 'probabilities'}, {'activation': 'softmax'}, UsageError, '--activation none'),
    ({'ends': 'probabilities'}, {'activation': 'sigmoid'}, UsageError, '--activation none')])
def test_what_cannot_be_prepared_is_refused_with_the_reason(
        tmp_path: Path, made: dict[str, Any], asked: dict[str, Any],
        error: type[ResnetTrtError], keyword: str) -> None:
    source = write_classifier(tmp_path / 'in.onnx', **made)
    with pytest.raises(error, match=keyword):
        prepare(source, tmp_path / 'out.onnx', **{'mean': MEAN, 'std': STD, **asked})
    assert not (tmp_path / 'out.onnx').exists()


def test_a_softmax_can_be_put_behind_a_sigmoid(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends='sigmoid')
    report = prepare(
        source, tmp_path / 'out.onnx', mean=MEAN, std=STD, activation='softmax')
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source), atol=1e-5)


def test_rows_that_sum_to_a_little_more_than_1_are_logits(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx', ends='probabilities')
    model = onnx.load(str(source))
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.02), 'total'))
    model.graph.node.append(helper.make_node('Mul', ['output', 'total'], ['scaled']))
    model.graph.output[0].name = 'scaled'
    onnx.save(model, str(source))
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert report.activation == 'softmax'


def _with_outputs(path: Path) -> Path:
    model = onnx.load(str(write_classifier(path)))
    model.graph.output.append(
        helper.make_tensor_value_info('flat', TensorProto.FLOAT, ('batch', 8)))
    onnx.save(model, str(path))
    return path


def test_several_outputs_are_listed_and_one_can_be_chosen(tmp_path: Path) -> None:
    source = _with_outputs(tmp_path / 'in.onnx')
    with pytest.raises(UsageError, match=r'2 outputs: .*flat \(batch, 8\)'):
        prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD, output='flat')
    assert report.spec.num_classes == 8
    assert 'MatMul' not in {node.op_type for node in onnx.load(str(report.path)).graph.node}


def test_several_inputs_are_listed(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / 'in.onnx')
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info('mask', TensorProto.FLOAT, (1,)))
    model.graph.node[0].input[0] = 'masked'
    model.graph.node.insert(0, helper.make_node('Mul', ['input', 'mask'], ['masked']))
    onnx.save(model, str(path))
    with pytest.raises(ModelError, match=r'2 inputs .*mask \(1\)'):
        prepare(path, tmp_path / 'out.onnx', mean=MEAN, std=STD)


def test_constants_among_the_inputs_are_no_inputs(tmp_path: Path) -> None:
    path = write_classifier(tmp_path / 'in.onnx')
    model = onnx.load(str(path))
    for tensor in model.graph.initializer:
        model.graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    onnx.save(model, str(path))
    report = prepare(path, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    assert [value.name for value in onnx.load(str(report.path)).graph.input] == ['images']


def test_a_deployable_model_is_left_alone(tmp_path: Path, resnet18: WrittenModel) -> None:
    with pytest.raises(UsageError, match='is already deployable: use it as it is'):
        prepare(resnet18.path, tmp_path / 'out.onnx', mean=MEAN, std=STD)


@pytest.mark.slow
@pytest.mark.parametrize('batch', [1, None])
def test_what_pytorch_exports_works(tmp_path: Path, batch: Any) -> None:
    import torch

    class Net(torch.nn.Module):

        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 8, 3, stride=2)
            self.fc = torch.nn.Linear(8, CLASSES)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = torch.nn.functional.pad(x, (0, 1, 0, 1))
            x = torch.nn.functional.adaptive_avg_pool2d(self.conv(x).relu(), 1)
            return self.fc(x.view(x.size(0), -1))

    torch.manual_seed(0)
    source = tmp_path / 'in.onnx'
    axes = None if batch else {'input': {0: 'n'}, 'output': {0: 'n'}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            torch.onnx.export(
                Net().eval(), (torch.zeros(1, 3, SIDE, SIDE),), str(source), dynamo=False,
                opset_version=17, input_names=['input'], output_names=['output'],
                dynamic_axes=axes)
    except (TypeError, ImportError) as error:
        pytest.skip(f'this PyTorch has no TorchScript exporter: {error}')
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source), atol=1e-5)
    operators = {node.op_type for node in onnx.load(str(report.path)).graph.node}
    assert not operators & {'Shape', 'Gather', 'Concat', 'Reshape', 'Constant'}


def test_the_standard_operators_may_be_named_in_full(tmp_path: Path) -> None:
    source = write_classifier(tmp_path / 'in.onnx')
    model = onnx.load(str(source))
    model.opset_import[0].domain = 'ai.onnx'
    onnx.save(model, str(source))
    report = prepare(source, tmp_path / 'out.onnx', mean=MEAN, std=STD)
    np.testing.assert_allclose(
        _run(report.path, {'images': FRAMES}), _expected(source), atol=1e-5)
