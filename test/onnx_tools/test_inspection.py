"""What inspection reports of a model, against numbers that are known."""

from __future__ import annotations

from pathlib import Path

from models.classifiers import write_classifier
import onnx
from onnx import helper, TensorProto
import pytest
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.deployable import WrittenModel
from resnet_trt_node.onnx_tools.inspection import count_macs, inspect_model, TensorInfo
from resnet_trt_node.training.networks.resnet import ResNet
from resnet_trt_node.training.networks.resnet_graph import resnet_graph

pytestmark = pytest.mark.slow

#: Multiply-accumulates of 224x224 that torchvision states, in 1e9.
GMACS = {'resnet18': 1.814, 'resnet34': 3.664, 'resnet50': 4.089}


@pytest.mark.parametrize('arch', GMACS)
def test_costs_are_the_published_ones(arch: str) -> None:
    model = resnet_graph(ResNet(arch).eval(), 'fp32', 224)
    macs = count_macs(model)
    assert macs is not None
    assert macs / 1e9 == pytest.approx(GMACS[arch], abs=1e-3)


def test_a_deployable_model_is_described(resnet18: WrittenModel) -> None:
    found = inspect_model(resnet18.path)
    assert found.spec == resnet18.spec
    assert found.not_deployable_because == ''
    assert found.inputs == (TensorInfo('images', 'uint8', ('N', 64, 64, 3)),)
    assert found.outputs == (TensorInfo('probabilities', 'float32', ('N', 5)),)
    assert (found.opset, found.ir_version, found.precision) == (17, 8, 'fp32')
    assert found.sha256 == resnet18.sha256
    # ResNet-18 without its 1000 classes, its batch norms' 2 * 4800 numbers now 4800 biases;
    # the normalisation has 6.
    assert found.parameters == 11_689_512 - 995 * 513 - 4800 + 6
    assert found.weight_bytes == 4 * found.parameters
    assert found.operators['Conv'] == 21
    assert found.flops == 2 * found.macs if found.macs else False
    values = found.to_dict()
    assert values['deployable'] is True
    assert values['spec']['labels'] == resnet18.spec.labels


def test_fp16_is_seen(resnet18_fp16: Path) -> None:
    found = inspect_model(resnet18_fp16)
    assert found.precision == 'fp16'
    assert found.weight_bytes == 2 * found.parameters


def test_another_onnx_is_shown_with_the_reason(tmp_path: Path) -> None:
    found = inspect_model(write_classifier(tmp_path / 'net.onnx'))
    assert found.spec is None
    assert 'resnet_trt prepare' in found.not_deployable_because
    assert found.inputs == (TensorInfo('input', 'float32', ('batch', 3, 16, 16)),)
    # 7x7 outputs of 8 channels from 3x3x3, then 8x6.
    assert found.macs == 7 * 7 * 8 * 27 + 48


@pytest.mark.parametrize('flatten', ['arithmetic', 'constant'])
def test_shape_arithmetic_does_not_hide_the_cost(tmp_path: Path, flatten: str) -> None:
    found = inspect_model(write_classifier(tmp_path / 'net.onnx', flatten=flatten))
    assert found.macs == 7 * 7 * 8 * 27 + 48


def test_open_sides_leave_the_cost_unknown(tmp_path: Path) -> None:
    found = inspect_model(write_classifier(tmp_path / 'net.onnx', side=None))
    assert found.macs is None
    assert found.flops is None


def test_transposed_convolutions_and_turned_products_are_counted() -> None:
    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        [helper.make_node('ConvTranspose', ['x', 'w'], ['y'], strides=[2, 2]),
         helper.make_node('Gemm', ['a', 'b'], ['c'], transA=1)],
        'net', [value('x', 1, 4, 5, 5), value('w', 4, 2, 3, 3), value('a', 7, 3),
                value('b', 7, 2)],
        [value('y', 1, 2, 11, 11), value('c', 3, 2)])
    # Each of 4x25 numbers goes into 2x3x3; 3x2 results sum 7 products.
    assert count_macs(helper.make_model(graph)) == 100 * 18 + 6 * 7


@pytest.mark.parametrize('content', [None, b'', b'no model'])
def test_what_is_no_model_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / 'net.onnx'
    if isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(ModelError, match=r'no model at|not an ONNX file'):
        inspect_model(path)
