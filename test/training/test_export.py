"""Exported models: the contract in the graph, the numbers of PyTorch, and no half files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper, TensorProto
import pytest
from resnet_trt_node import __version__
from resnet_trt_node.contract.model_file import file_sha256, read_model_spec
from resnet_trt_node.contract.spec import ResizeRule
from resnet_trt_node.errors import LabelsError, ModelError, ResnetTrtError, UsageError
from resnet_trt_node.labels.names import imagenet_labels
from resnet_trt_node.onnx_tools.deployable import WrittenModel
from resnet_trt_node.onnx_tools.graph import folded
from resnet_trt_node.training import export
from resnet_trt_node.training.checkpoints.weights import load_network
from resnet_trt_node.training.export import export_resnet
import torch

pytestmark = pytest.mark.slow

FRAMES = np.random.default_rng(11).integers(0, 256, (4, 64, 64, 3), np.uint8)


def _run(path: Path, frames: Any) -> Any:
    import onnxruntime
    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    result, = session.run(None, {'images': frames})
    return result


def _torch(frames: Any) -> Any:
    """Compute the same with the formula written out, not with the package's own."""
    network, _ = load_network('resnet18', 'random', 5, seed=3)
    x = torch.from_numpy(frames).float().permute(0, 3, 1, 2) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        return network((x - mean[:, None, None]) / std[:, None, None]).softmax(1).numpy()


def test_the_graph_keeps_the_contract(resnet18: WrittenModel) -> None:
    model = onnx.load(str(resnet18.path))
    onnx.checker.check_model(model, full_check=True)
    assert Counter(node.op_type for node in model.graph.node) == {
        'Cast': 1, 'Transpose': 1, 'Conv': 21, 'Relu': 17, 'MaxPool': 1, 'Add': 8,
        'GlobalAveragePool': 1, 'Flatten': 1, 'Gemm': 1, 'Softmax': 1}
    assert [node.op_type for node in model.graph.node[:3]] == ['Cast', 'Transpose', 'Conv']
    normalise = model.graph.node[2]
    assert {item.name: item.i for item in normalise.attribute if item.name == 'group'} == {
        'group': 3}
    assert model.ir_version == 8
    assert [(item.domain, item.version) for item in model.opset_import] == [('', 17)]
    shape = model.graph.input[0].type.tensor_type.shape.dim
    assert (shape[0].dim_param, [dim.dim_value for dim in shape[1:]]) == ('N', [64, 64, 3])


def test_nodes_are_called_as_the_modules(resnet18: WrittenModel) -> None:
    graph = onnx.load(str(resnet18.path)).graph
    names = {node.name for node in graph.node}
    assert {'conv1', 'layer1.0.conv2', 'layer2.0.downsample.0', 'layer4.1.add', 'fc'} <= names
    constants = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    assert constants['layer2.0.downsample.0.weight'] == (128, 64, 1, 1)
    assert constants['normalise.weight'] == (3, 1, 1, 1)


def test_the_metadata_is_complete(resnet18: WrittenModel) -> None:
    spec = read_model_spec(resnet18.path)
    assert spec == resnet18.spec
    assert spec.labels == ('class_0', 'class_1', 'class_2', 'class_3', 'class_4')
    assert spec.resize == ResizeRule(73, 64, 64, 'bilinear')
    assert (spec.architecture, spec.precision) == ('resnet18', 'fp32')
    assert (spec.source, spec.source_sha256) == ('random, seed 3', '')
    assert spec.tool_version == __version__
    assert resnet18.sha256 == file_sha256(resnet18.path)
    assert resnet18.size_bytes == resnet18.path.stat().st_size


@pytest.mark.parametrize('batch', [1, 2, 4])
def test_numbers_are_those_of_pytorch(resnet18: WrittenModel, batch: int) -> None:
    found = _run(resnet18.path, FRAMES[:batch])
    assert found.shape == (batch, 5)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, _torch(FRAMES[:batch]), atol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    assert resnet18.max_abs_difference <= 1e-5


def test_fp16_is_strongly_typed(resnet18_fp16: Path) -> None:
    model = onnx.load(str(resnet18_fp16))
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT16}
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    assert {kind for name, kind in kinds.items() if name != 'logits_float'} == {
        TensorProto.FLOAT16}
    assert kinds['logits_float'] == TensorProto.FLOAT
    assert [node.op_type for node in model.graph.node[-3:]] == ['Gemm', 'Cast', 'Softmax']
    assert read_model_spec(resnet18_fp16).precision == 'fp16'
    np.testing.assert_allclose(_run(resnet18_fp16, FRAMES), _torch(FRAMES), atol=5e-3)


def test_folding_a_batch_norm_changes_nothing() -> None:
    torch.manual_seed(0)
    convolution = torch.nn.Conv2d(4, 6, 3, bias=False).double()
    norm = torch.nn.BatchNorm2d(6, eps=1e-3).double().eval()
    for values in (norm.weight.data, norm.bias.data, norm.running_mean):
        values.normal_()
    norm.running_var.uniform_(0.1, 3.0)
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    weight, bias = folded(
        convolution.weight.detach().numpy(), None,
        *(value.detach().numpy() for value in (
            norm.weight, norm.bias, norm.running_mean, norm.running_var)), 1e-3)
    found = torch.nn.functional.conv2d(x, torch.from_numpy(weight), torch.from_numpy(bias))
    torch.testing.assert_close(found, norm(convolution(x)), rtol=1e-12, atol=1e-12)


def test_a_thousand_classes_get_the_imagenet_names(tmp_path: Path) -> None:
    report = export_resnet('resnet18', 'random', tmp_path / 'net.onnx', image_size=32, resize=40)
    assert report.spec.labels == imagenet_labels()
    assert report.spec.resize.short_side == 40


def test_labels_fix_the_number_of_random_classes(tmp_path: Path) -> None:
    labels = tmp_path / 'labels.txt'
    labels.write_text('cat\ndog\nChâteau\n', encoding='utf-8')
    report = export_resnet(
        'resnet18', 'random', tmp_path / 'net.onnx', labels=labels, image_size=32)
    assert read_model_spec(report.path).labels == ('cat', 'dog', 'Château')


def test_a_checkpoint_fixes_its_number_of_classes(tmp_path: Path) -> None:
    network, _ = load_network('resnet18', 'random', 4, seed=3)
    checkpoint = tmp_path / 'net.pth'
    torch.save({'state_dict': network.state_dict()}, checkpoint)
    report = export_resnet(
        'resnet18', checkpoint, tmp_path / 'net.onnx', labels=list('abcd'), image_size=32)
    assert report.spec.labels == ('a', 'b', 'c', 'd')
    assert report.spec.source_sha256 == file_sha256(checkpoint)
    with pytest.raises(LabelsError, match=r'3 labels, but net.pth has 4 classes'):
        export_resnet(
            'resnet18', checkpoint, tmp_path / 'bad.onnx', labels=list('abc'), image_size=32)
    assert not (tmp_path / 'bad.onnx').exists()


@pytest.mark.parametrize(('changes', 'error', 'keyword'), [
    ({'arch': 'resnet20'}, UsageError, "'resnet20'"),
    ({'precision': 'int8'}, UsageError, "'int8': .*fp32, fp16"),
    ({'image_size': 8}, UsageError, 'image-size 8'),
    ({'image_size': 64, 'resize': 60}, ModelError, 'short side of 60'),
    ({'seed': 2**64}, UsageError, '--seed 18446744073709551616'),
    ({'num_classes': 3, 'labels': ['a', 'b']}, LabelsError, '2 labels for 3'),
    ({'labels': 'none.txt'}, LabelsError, 'labels none.txt'),
    ({'weights': 'none.pth'}, ModelError, 'no checkpoint .*none.pth')])
def test_bad_arguments_are_refused_and_leave_nothing(
        tmp_path: Path, changes: dict[str, Any], error: type[ResnetTrtError],
        keyword: str) -> None:
    arguments = {'arch': 'resnet18', 'weights': 'random', 'image_size': 32, **changes}
    with pytest.raises(error, match=keyword):
        export_resnet(out=tmp_path / 'net.onnx', **arguments)
    assert not list(tmp_path.iterdir())


def test_a_wrong_graph_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*arguments: Any) -> onnx.ModelProto:
        model = right(*arguments)
        for tensor in model.graph.initializer:
            if tensor.name == 'layer4.1.conv2.bias':
                values = numpy_helper.to_array(tensor) + 0.5
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        return model

    right = export.resnet_graph
    monkeypatch.setattr(export, 'resnet_graph', wrong)
    out = tmp_path / 'net.onnx'
    out.write_bytes(b'the older file')
    with pytest.raises(ModelError, match=r'differ .* 0\.0001'):
        export_resnet('resnet18', 'random', out, num_classes=5, image_size=64)
    assert out.read_bytes() == b'the older file'
    assert [path.name for path in tmp_path.iterdir()] == ['net.onnx']


def test_weights_too_large_for_fp16_are_named(tmp_path: Path) -> None:
    network, _ = load_network('resnet18', 'random', 5)
    with torch.no_grad():
        network.layer2[0].bn1.weight *= 1e7
    checkpoint = tmp_path / 'net.pth'
    torch.save(network.state_dict(), checkpoint)
    with pytest.raises(ModelError, match=r'layer2\.0\.conv1\.weight .*--precision fp32'):
        export_resnet(
            'resnet18', checkpoint, tmp_path / 'net.onnx', image_size=64, precision='fp16')


def test_an_overflow_of_fp16_is_found_though_the_cpu_hides_it(tmp_path: Path) -> None:
    network, _ = load_network('resnet18', 'random', 5)
    with torch.no_grad():
        # The next convolution takes it back, so that float32 never notices.
        network.layer2[0].bn1.weight *= 2e4
        network.layer2[0].bn1.bias *= 2e4
        network.layer2[0].conv2.weight /= 2e4
    checkpoint = tmp_path / 'net.pth'
    torch.save(network.state_dict(), checkpoint)
    out = tmp_path / 'net.onnx'
    assert export_resnet('resnet18', checkpoint, out, image_size=64).max_abs_difference < 1e-5
    out.unlink()
    with pytest.raises(ModelError, match=r'layer2\.0\.\w+ reaches .*--precision fp32'):
        export_resnet('resnet18', checkpoint, out, image_size=64, precision='fp16')
    assert not out.exists()


@pytest.mark.parametrize('place', ['folder', 'below a file'])
def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / 'file').write_text('')
    out = tmp_path if place == 'folder' else tmp_path / 'file' / 'net.onnx'
    with pytest.raises(UsageError, match='is a folder' if place == 'folder' else 'cannot write'):
        export_resnet('resnet18', 'random', out, num_classes=5, image_size=32)
    assert [path.name for path in tmp_path.iterdir()] == ['file']


def test_equal_names_get_their_index(tmp_path: Path) -> None:
    report = export_resnet(
        'resnet18', 'random', tmp_path / 'out.onnx', image_size=32, labels=['a', 'b', 'a'])
    assert report.spec.labels == read_model_spec(report.path).labels == ('a (0)', 'b', 'a (2)')
