"""Masks are exactly 2:4 and the best ones; they survive training steps, export and int8."""

from __future__ import annotations

from dataclasses import asdict
import itertools
import json
from pathlib import Path

from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays
from models.classifiers import branching_copy, write_classifier
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import onnxruntime
import pytest
from resnet_trt_node.backends.tensorrt.builder import EngineBuilder
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions
from resnet_trt_node.contract.model_file import read_model_spec
from resnet_trt_node.contract.sparsity import (
    is_two_four, layer_weights, SparseBuild, two_four_layers)
from resnet_trt_node.errors import ModelError, UsageError
from resnet_trt_node.onnx_tools.deployable import WrittenModel
from resnet_trt_node.onnx_tools.int8.quantize import quantize_model
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.pruning.masks import (
    check_pattern, check_sparse_checkpoint, check_two_four, prune_graph, prune_onnx,
    two_four_mask, TwoFourMasks)
import torch
from torch import nn

pytestmark = pytest.mark.slow

#: Convolutions of a ResNet-18, all but its stem.
PRUNED = 19


@pytest.fixture(scope='module')
def pruned(resnet18: WrittenModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the small ResNet-18 pruned in one shot."""
    path = tmp_path_factory.mktemp('prune') / 'sparse.onnx'
    prune_onnx(resnet18.path, path)
    return path


def network(classes: int = 5) -> ResNet:
    result = ResNet('resnet18', classes)
    initialise(result, 3)
    return result


# Masks

@st.composite
def weights(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    """Draw a weight of two or four sides, and the summed one, a multiple of 4 long."""
    sides = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    axis = draw(st.integers(0, len(sides)))
    sides.insert(axis, 4 * draw(st.integers(1, 4)))
    numbers = st.floats(-4, 4, width=32, allow_subnormal=False)
    return draw(arrays.arrays(np.float32, tuple(sides), elements=numbers)), axis


@settings(max_examples=150, deadline=None)
@given(weights())
def test_masks_keep_exactly_the_two_largest_of_every_four(drawn: tuple[np.ndarray, int]) -> None:
    weight, axis = drawn
    mask = two_four_mask(weight, axis)
    assert mask.shape == weight.shape
    assert is_two_four(weight * mask, axis)
    groups = np.moveaxis(mask, axis, -1).reshape(-1, 4)
    assert (groups.sum(axis=1) == 2).all()
    magnitudes = np.abs(np.moveaxis(weight, axis, -1)).reshape(-1, 4).astype(np.float64)
    # Against every choice of two that there is.
    best = np.max([magnitudes[:, list(pair)].sum(axis=1)
                   for pair in itertools.combinations(range(4), 2)], axis=0)
    np.testing.assert_array_equal((magnitudes * groups).sum(axis=1), best)


@settings(max_examples=60, deadline=None)
@given(weights())
def test_pruning_twice_changes_nothing(drawn: tuple[np.ndarray, int]) -> None:
    weight, axis = drawn
    once = weight * two_four_mask(weight, axis)
    np.testing.assert_array_equal(once * two_four_mask(once, axis), once)


def test_three_of_four_or_the_wrong_axis_is_not_two_four() -> None:
    weight = np.zeros((4, 8, 1, 1), np.float32)
    weight[:, [0, 3, 4, 5]] = 1
    assert is_two_four(weight, 1)
    assert not is_two_four(weight, 0)
    weight[2, 1] = 1e-30
    assert not is_two_four(weight, 1)
    assert not is_two_four(np.zeros((4, 6, 1, 1)), 1)


def test_any_other_pattern_is_refused() -> None:
    check_pattern('2:4')
    with pytest.raises(UsageError, match="'4:8': choose 2:4"):
        check_pattern('4:8')


# Networks

def test_a_resnet_is_pruned_but_for_stem_and_classifier() -> None:
    net = network()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    masks = TwoFourMasks(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    masks(net)
    check_two_four(net, masks.layers)
    assert len(masks.layers) == PRUNED
    dense = {one.layer: one.why_dense for one in masks.reports if one.why_dense}
    assert dense == {'conv1': '3 inputs, no multiple of 4', 'fc': 'fully connected'}
    for one in masks.reports:
        weight = net.get_submodule(one.layer).weight.detach()
        old = before[f'{one.layer}.weight']
        assert one.shape == tuple(weight.shape)
        assert one.zeros == pytest.approx(float((weight == 0).float().mean()), abs=1e-6)
        assert one.kept == pytest.approx(
            float(weight.abs().sum() / old.abs().sum()), rel=1e-4)
        if one.why_dense:
            assert torch.equal(weight, old)
        else:
            # Of four normal numbers the two larger have three quarters of the magnitude.
            assert (one.zeros, 0.7 < one.kept < 0.8) == (0.5, True)


def test_the_classifier_is_pruned_where_asked_for() -> None:
    net = network()
    masks = TwoFourMasks(net, fully_connected=True)
    masks(net)
    assert 'fc' in masks.layers
    assert is_two_four(net.fc.weight.detach().numpy(), 1)


def test_grouped_convolutions_and_odd_channels_stay() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 6, 1), nn.Conv2d(6, 8, 1))
    masks = TwoFourMasks(net)
    assert [one.why_dense for one in masks.reports] == [
        '2 groups', '', '6 inputs, no multiple of 4']
    with pytest.raises(ModelError, match='nothing to prune'):
        TwoFourMasks(nn.Sequential(nn.Conv2d(3, 8, 1), nn.Linear(8, 2)))


def test_masks_serve_copies_of_the_network() -> None:
    net, other = network(), network()
    TwoFourMasks(net)(other.to(memory_format=torch.channels_last))
    check_two_four(other, ['layer1.0.conv1', 'layer4.1.conv2'])


def test_a_network_that_lost_its_zeros_is_reported_by_layer() -> None:
    net = network()
    masks = TwoFourMasks(net)
    masks(net)
    content = {'sparsity': '2:4', 'sparse_layers': masks.layers}
    check_sparse_checkpoint(content, net, 'net.pth')
    with torch.no_grad():
        net.layer3[0].conv2.weight.add_(1.0)
    with pytest.raises(ModelError, match=r'not 2:4: layer3\.0\.conv2;'):
        check_sparse_checkpoint(content, net, 'net.pth')
    check_sparse_checkpoint({}, net, 'net.pth')
    with pytest.raises(ModelError, match=r"net\.pth .*'1:4'"):
        check_sparse_checkpoint({'sparsity': '1:4'}, net, 'net.pth')


# ONNX

def test_one_shot_pruning_of_a_model(resnet18: WrittenModel, pruned: Path) -> None:
    before, after = onnx.load(str(resnet18.path)), onnx.load(str(pruned))
    assert two_four_layers(before) == []
    layers = two_four_layers(after)
    assert len(layers) == PRUNED
    assert {'conv1', 'normalise', 'fc'}.isdisjoint(layers)
    old = {one.layer: one.values for one in layer_weights(before)}
    for one in layer_weights(after):
        mask = two_four_mask(old[one.layer], 1) if one.layer in layers else 1
        np.testing.assert_array_equal(one.values, old[one.layer] * mask)
    spec, was = read_model_spec(pruned), read_model_spec(resnet18.path)
    assert spec.source == f'{was.source}, pruned 2:4'
    assert (spec.labels, spec.resize, spec.precision) == (was.labels, was.resize, 'fp32')
    session = onnxruntime.InferenceSession(str(pruned), providers=['CPUExecutionProvider'])
    answers, = session.run(None, {'images': sample_frames(2, 64, 64)})
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)


def test_a_half_precision_model_can_be_pruned_too(resnet18_fp16: Path, tmp_path: Path) -> None:
    spec, reports = prune_onnx(resnet18_fp16, tmp_path / 'half.onnx', fully_connected=True)
    assert spec.precision == 'fp16'
    assert sum(not one.why_dense for one in reports) == PRUNED + 1
    model = onnx.load(str(tmp_path / 'half.onnx'))
    assert len(two_four_layers(model)) == PRUNED + 1
    assert {one.values.dtype for one in layer_weights(model)} == {np.dtype(np.float16)}


def test_matrix_products_sum_over_their_own_side() -> None:
    random = np.random.default_rng(0)
    tensors = {'a': (8, 6), 'b': (6, 8), 'c': (8, 4)}
    graph = helper.make_graph(
        [helper.make_node('Gemm', ['x', 'a'], ['p'], name='plain'),
         helper.make_node('Gemm', ['x', 'b'], ['t'], name='turned', transB=1),
         helper.make_node('MatMul', ['x', 'c'], ['m'], name='product')], 'net',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, ['N', 8])],
        [helper.make_tensor_value_info('m', TensorProto.FLOAT, ['N', 4])],
        [numpy_helper.from_array(random.normal(size=shape).astype(np.float32), name)
         for name, shape in tensors.items()])
    model = helper.make_model(graph)
    reports = prune_graph(model, fully_connected=True)
    assert [one.layer for one in reports] == ['plain', 'turned', 'product']
    new = {one.layer: one.values for one in layer_weights(model)}
    assert is_two_four(new['plain'], 0)
    assert is_two_four(new['turned'], 1)
    assert is_two_four(new['product'], 0)


def test_export_of_pruned_weights_keeps_the_zeros(tmp_path: Path) -> None:
    """The batch norms are folded in: each output is scaled, no zero becomes another number."""
    net = network()
    masks = TwoFourMasks(net)
    masks(net)
    torch.save(net.state_dict(), tmp_path / 'net.pth')
    export_resnet('resnet18', tmp_path / 'net.pth', tmp_path / 'net.onnx', image_size=64)
    export_resnet('resnet18', tmp_path / 'net.pth', tmp_path / 'half.onnx', image_size=64,
                  precision='fp16')
    for name in ('net.onnx', 'half.onnx'):
        assert two_four_layers(onnx.load(str(tmp_path / name))) == masks.layers


def test_int8_of_a_pruned_model_keeps_the_zeros(
        pruned: Path, resnet18: WrittenModel, tmp_path: Path) -> None:
    frames = sample_frames(8, 64, 64)
    quantize_model(pruned, [frames], tmp_path / 'int8.onnx')
    model = onnx.load(str(tmp_path / 'int8.onnx'))
    assert len(two_four_layers(model)) == PRUNED
    # What runs is the rounded weight: that is 2:4 as well, and not for being zero altogether.
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    name = 'layer2.0.conv1.weight'
    scale = constants[f'{name}:scale'].reshape(-1, 1, 1, 1)
    rounded = np.clip(np.round(constants[name] / scale), -127, 127)
    assert is_two_four(rounded, 1)
    assert 0.4 < (rounded != 0).mean() <= 0.5
    with pytest.raises(ModelError, match=r'int8\.onnx: it is int8'):
        prune_onnx(tmp_path / 'int8.onnx', tmp_path / 'again.onnx')
    assert not (tmp_path / 'again.onnx').exists()


def test_layers_in_branches_are_refused_by_name(resnet18: WrittenModel, tmp_path: Path) -> None:
    path = branching_copy(resnet18.path, tmp_path / 'branches.onnx')
    with pytest.raises(ModelError, match=r"Gemm 'twin' .*If 'choice'"):
        prune_onnx(path, tmp_path / 'out.onnx')
    assert not (tmp_path / 'out.onnx').exists()


def test_a_model_that_answers_nan_when_pruned_is_not_written(
        resnet18: WrittenModel, tmp_path: Path) -> None:
    model = onnx.load(str(resnet18.path))
    bias = next(one for one in model.graph.initializer if one.name.endswith('fc.bias'))
    bias.CopyFrom(numpy_helper.from_array(
        np.full(bias.dims, np.nan, np.float32), bias.name))
    onnx.save(model, str(tmp_path / 'nan.onnx'))
    with pytest.raises(ModelError, match=r'nan\.onnx .*NaN'):
        prune_onnx(tmp_path / 'nan.onnx', tmp_path / 'out.onnx')
    assert [path.name for path in tmp_path.iterdir()] == ['nan.onnx']


def test_models_that_cannot_be_pruned_are_reported(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='not a deployable model'):
        prune_onnx(write_classifier(tmp_path / 'net.onnx'), tmp_path / 'out.onnx')
    model = onnx.load(str(tmp_path / 'net.onnx'))
    with pytest.raises(ModelError, match='nothing to prune'):
        prune_graph(model)
    assert not (tmp_path / 'out.onnx').exists()


# Engines

@pytest.mark.parametrize('precision', ['fp32', 'fp16', 'int8'])
def test_the_real_builder_takes_sparse_models(
        pruned: Path, tmp_path: Path, precision: str) -> None:
    rtx = pytest.importorskip('tensorrt_rtx', reason='tensorrt-rtx is not installed')
    path = pruned if precision == 'fp32' else tmp_path / 'model.onnx'
    if precision == 'fp16':
        export_resnet('resnet18', 'random', tmp_path / 'dense.onnx', num_classes=5, image_size=64,
                      precision='fp16')
        prune_onnx(tmp_path / 'dense.onnx', path)
    elif precision == 'int8':
        quantize_model(pruned, [sample_frames(2, 64, 64)], path)
    said: list[str] = []
    built = EngineBuilder(
        rtx, path, path.read_bytes(),
        TensorRtOptions(sparse_weights=True, target_sm='8.9', log=said.append),
        ((1, 1, 1),)).build()
    assert built.spec.precision == precision
    assert built.sparsity is not None
    assert built.sparsity.two_four == PRUNED
    assert f' {PRUNED} layers' in said[-1]


@pytest.mark.parametrize(('lines', 'expected'), [
    ([], (None, None, ())),
    (['(Sparsity) Found 3 layer(s) eligible to use sparse tactics: a, b + c, d',
      '(Sparsity) Chose 2 layer(s) using sparse tactics: a, b + c'], (3, 2, ('a', 'b + c'))),
    # TensorRT 8, twice, as where an engine is built again.
    (['(Sparsity) Layers eligible for sparse math: a',
      '(Sparsity) Layers eligible for sparse math: a, b + c, d',
      '(Sparsity) TRT inference plan picked sparse implementation for layers: b + c'],
     (3, 1, ('b + c',))),
    (['(Sparsity) Layers eligible for sparse math: a, b',
      '(Sparsity) TRT inference plan picked sparse implementation for layers: '], (2, 0, ()))])
def test_what_tensorrt_logs_of_sparse_layers_is_read(
        lines: list[str], expected: tuple[int, int, tuple[str, ...]]) -> None:
    built = SparseBuild.of_log(19, lines)
    assert (built.eligible, built.chosen, built.layers) == expected
    assert SparseBuild(**json.loads(json.dumps(asdict(built)))) == built
    assert '19 layers are 2:4' in built.describe()
