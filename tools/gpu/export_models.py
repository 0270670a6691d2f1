"""
Write the ResNet-50 models that the GPU benchmark compares, and their reference answers.

Random weights time like trained ones. Needs PyTorch and ONNX Runtime, so it runs under the
machine's own Python, while the benchmark runs under that of TensorRT. Files that are there
already are left alone; NAMES can be given to write some of them only.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
import time
from typing import Optional

import numpy as np
import onnx
from onnx import helper, numpy_helper
import onnxruntime
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.onnx_tools.int8.quantize import Placement, quantize_model
from resnet_trt_node.training.export import export_resnet
from tools.gpu.roofline import layers_of

#: Name to (float model, where the Q/DQ pairs stand); each answers one question about int8.
INT8 = {
    'int8': ('fp32', Placement()),
    'int8_subtract': ('fp32_subtract', Placement()),
    'int8_plain': ('fp32', Placement(shortcuts=False, pooled=False)),
}
_CALIBRATION_FRAMES = 64


class Workshop:
    """Makes the models of one folder, each once."""

    def __init__(self, folder: Path, frames: Path) -> None:
        self._folder = folder
        self._frames = np.load(frames)
        folder.mkdir(parents=True, exist_ok=True)

    def make(self, name: str) -> Path:
        """Return the path of a model, written if it is not there."""
        path = self._folder / f'{name}.onnx'
        if path.exists():
            return path
        start = time.monotonic()
        if name in ('fp32', 'fp16'):
            export_resnet('resnet50', 'random', path, precision=name)
        elif name == 'fp32_subtract':
            model = onnx.load(str(self.make('fp32')))
            subtract_mean(model)
            onnx.checker.check_model(model, full_check=True)
            with whole_file(path) as temporary:
                onnx.save(model, str(temporary))
        else:
            source_name, placement = INT8[name]
            source = self.make(source_name)
            chosen = self._frames[::max(1, len(self._frames) // _CALIBRATION_FRAMES)]
            quantize_model(source, np.array_split(chosen, 8), path, placement)
        print(f'{path}: {path.stat().st_size / 1e6:.0f} MB, {time.monotonic() - start:.1f} s',
              flush=True)
        return path

    def reference(self) -> None:
        """Write what ONNX Runtime answers in fp32."""
        trained = ['lite0_fp32'] if (self._folder / 'lite0_fp32.onnx').exists() else []
        for name in ['fp32', *trained]:
            path = self._folder / f'{name}.npy'
            if path.exists():
                continue
            session = onnxruntime.InferenceSession(
                str(self.make(name)), providers=['CPUExecutionProvider'])
            answers = [session.run(None, {'images': batch})[0]
                       for batch in np.array_split(self._frames, 10)]
            with whole_file(path) as temporary, open(temporary, 'wb') as file:
                np.save(file, np.concatenate(answers))
            print(path, flush=True)

    def roofline(self) -> None:
        """Write what each layer computes and moves."""
        path = self._folder / 'roofline.json'
        if not path.exists():
            layers = layers_of(onnx.load(str(self.make('fp32'))))
            with whole_file(path) as temporary:
                temporary.write_text(json.dumps(layers, indent=1), encoding='utf-8')


def subtract_mean(model: onnx.ModelProto) -> None:
    """
    Let the graph subtract the mean, and put the rest of the normalisation into the first weights.

    Scaling an input channel commutes with the convolution, and leaves the zeros of its padding
    zero, so this is exact but for rounding.
    """
    graph = model.graph
    constants = {tensor.name: tensor for tensor in graph.initializer}
    node = next(node for node in graph.node if node.name == 'normalise')
    scale, bias = (numpy_helper.to_array(constants[name]).astype(np.float64).reshape(3)
                   for name in node.input[1:])
    first = next(layer for layer in graph.node if node.output[0] in layer.input)
    weight = constants[first.input[1]]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array(
        (values * scale.reshape(1, 3, 1, 1)).astype(values.dtype), weight.name))
    offset = (bias / scale).reshape(1, 3, 1, 1).astype(values.dtype)
    graph.initializer.append(numpy_helper.from_array(offset, 'normalise.offset'))
    for name in node.input[1:]:
        graph.initializer.remove(constants[name])
    node.CopyFrom(helper.make_node(
        'Add', [node.input[0], 'normalise.offset'], list(node.output), name=node.name))


def main(arguments: Optional[list[str]] = None) -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('frames', type=Path, help='.npy of uint8 (N, 224, 224, 3)')
    parser.add_argument('names', nargs='*', help='models to write; not given: all')
    parsed = parser.parse_args(arguments)
    workshop = Workshop(parsed.folder, parsed.frames)
    for name in parsed.names or ['fp32', 'fp16', *INT8]:
        workshop.make(name)
    workshop.reference()
    workshop.roofline()


if __name__ == '__main__':
    main()
