"""
Write small models of the kinds that few have: grey, of uint8 pixels, multi-label, a ResNet-D.

Their weights are random, and their last layers fitted so that pictures get different answers.
The first three go through `prepare`, the last through a folder as timm's. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray
import onnx
from onnx import helper, TensorProto
import onnxruntime
from resnet_trt_node.onnx_tools.graph import GraphBuilder, IR_VERSION, OPSET
from resnet_trt_node.onnx_tools.preparation.prepare import prepare
from resnet_trt_node.onnx_tools.synthetic_frames import sample_frames
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import ResNet
from safetensors.torch import save_file

SIDE, CLASSES = 224, 20
_WIDTHS = (16, 32, 64, 128)
_MEAN, _STD = 127.5, 63.75
#: Spread of the logits, such that the largest probability is about a half.
_SPREAD = 2.0


def main() -> None:
    """Write the four models."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--deep', default='resnet18d', help='which ResNet-D')
    parser.add_argument('--precision', default='fp16', help='of the ResNet-D')
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for path in write_odd_models(arguments.folder, arguments.deep, arguments.precision):
        print(f'{path}: {path.stat().st_size / 1e6:.1f} MB', flush=True)


def write_odd_models(folder: Path, deep: str, precision: str) -> list[Path]:
    """
    Write all four.

    :param folder: is there.
    :param deep: a ResNet-D that `export` knows.
    :param precision: of it.
    :returns: their paths.
    """
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        numbers: dict[str, Any] = {'mean': [0.5], 'std': [0.25]}
        prepare(_classifier(scratch / 'grey.onnx', 1), folder / 'odd_grey.onnx', **numbers)
        prepare(_classifier(scratch / 'pixels.onnx', 3, pixels=True), folder / 'odd_pixels.onnx')
        prepare(_classifier(scratch / 'lights.onnx', 3), folder / 'odd_multi_label.onnx',
                activation='sigmoid', **numbers)
        network = ResNet(deep, CLASSES)
        initialise(network, 0)
        save_file(network.state_dict(), scratch / 'model.safetensors')
        (scratch / 'config.json').write_text(json.dumps({
            'architecture': deep, 'num_classes': CLASSES, 'pretrained_cfg': {
                'tag': 'random', 'input_size': [3, SIDE, SIDE], 'interpolation': 'bicubic',
                'crop_pct': 0.875, 'mean': [0.485, 0.456, 0.406],
                'std': [0.229, 0.224, 0.225]}}), encoding='utf-8')
        export_resnet(None, scratch, folder / f'odd_{deep}.onnx', precision=precision)
    return sorted(folder.glob('odd_*.onnx'))


def _classifier(path: Path, channels: int, pixels: bool = False) -> Path:
    """
    Write a residual network of 0.7 million weights.

    :param path: the file; what others' exporters would write.
    :param channels: of its input, (N, channels, SIDE, SIDE) of float32.
    :param pixels: whether it takes uint8 (N, SIDE, SIDE, channels) and normalises them itself.
    """
    builder, random = GraphBuilder('fp32'), np.random.default_rng(channels)

    def convolve(name: str, x: str, inputs: int, outputs: int, stride: int) -> str:
        weight = random.normal(0, (2 / (9 * inputs)) ** 0.5, (outputs, inputs, 3, 3))
        return builder.convolution(
            name, x, weight, np.zeros(outputs), stride=stride, pads=(1, 1, 1, 1))

    x = 'input'
    if pixels:
        x = builder.node('Cast', 'floats', x, to=TensorProto.FLOAT)
        x = builder.node('Sub', 'centred', [x, builder.constant('middle', _MEAN)])
        x = builder.node('Div', 'scaled', [x, builder.constant('step', _STD)])
        x = builder.node('Transpose', 'turned', x, perm=[0, 3, 1, 2])
    inputs = channels
    for stage, outputs in enumerate(_WIDTHS):
        x = builder.node(
            'Relu', f'down{stage}.relu', convolve(f'down{stage}', x, inputs, outputs, 2))
        y = builder.node('Relu', f'a{stage}.relu', convolve(f'a{stage}', x, outputs, outputs, 1))
        y = convolve(f'b{stage}', y, outputs, outputs, 1)
        x = builder.node('Relu', f'sum{stage}.relu', builder.node('Add', f'sum{stage}', [x, y]))
        inputs = outputs
    x = builder.node('Flatten', 'features', builder.node('GlobalAveragePool', 'pool', x))
    kind = TensorProto.UINT8 if pixels else TensorProto.FLOAT
    shape = (['N', SIDE, SIDE, channels] if pixels else ['N', channels, SIDE, SIDE])
    taken = [helper.make_tensor_value_info('input', kind, shape)]

    def model(result: str, size: int) -> onnx.ModelProto:
        given = [helper.make_tensor_value_info(result, TensorProto.FLOAT, ['N', size])]
        return helper.make_model(
            helper.make_graph(builder.nodes, 'odd', taken, given, builder.constants),
            opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION)

    weight, bias = _fitted_head(
        model(x, inputs), channels, pixels, random.normal(size=(CLASSES, inputs)))
    builder.node('Gemm', 'logits', [
        x, builder.constant('fc.weight', weight), builder.constant('fc.bias', bias)], transB=1)
    onnx.save(model('logits', CLASSES), str(path))
    return path


def _fitted_head(
        features: onnx.ModelProto, channels: int, pixels: bool,
        weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weight and bias with which the logits of synthetic pictures differ."""
    frames = sample_frames(16, SIDE, SIDE)[..., :channels]
    given = frames if pixels else (
        (frames.astype(np.float32) - _MEAN) / _STD).transpose(0, 3, 1, 2)
    session = onnxruntime.InferenceSession(
        features.SerializeToString(), providers=['CPUExecutionProvider'])
    found = session.run(None, {'input': given})[0]
    # The largest directions that all pictures share say nothing.
    weight = weight / found.std(axis=0).clip(1e-6)
    weight *= _SPREAD / ((found - found.mean(axis=0)) @ weight.T).std()
    return weight, -weight @ found.mean(axis=0)


if __name__ == '__main__':
    main()
