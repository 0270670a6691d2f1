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
import onnxruntime
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.onnx_tools.int8.quantize import Placement, quantize_model
from resnet_trt_node.training.export import export_resnet
from tools.gpu.fronts import FRONTS
from tools.gpu.roofline import layers_of

#: Name to (where the Q/DQ pairs stand, front); each answers one question about int8.
INT8 = {
    'int8': (Placement(), 'depthwise'),
    'int8_subtract': (Placement(), 'subtract'),
    'int8_plain': (Placement(shortcuts=False, pooled=False), 'depthwise'),
    'int8_float_ends': (Placement(first=False, last=False), 'depthwise'),
    'int8_float_pool': (Placement(pooled=False), 'depthwise'),
}
FP16 = {'fp16_subtract': 'subtract', 'fp16_dense': 'dense'}
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
        elif name in FP16:
            self._save(FRONTS[FP16[name]](onnx.load(str(self.make('fp16')))), path)
        elif name == 'fp32_subtract':
            self._save(FRONTS['subtract'](onnx.load(str(self.make('fp32')))), path)
        else:
            placement, front = INT8[name]
            source = self.make('fp32' if front == 'depthwise' else f'fp32_{front}')
            chosen = self._frames[::max(1, len(self._frames) // _CALIBRATION_FRAMES)]
            quantize_model(source, np.array_split(chosen, 8), path, placement)
        print(f'{path}: {path.stat().st_size / 1e6:.0f} MB, {time.monotonic() - start:.1f} s',
              flush=True)
        return path

    def reference(self) -> None:
        """Write what ONNX Runtime answers in fp32, and in the graph's own precision else."""
        trained = ['lite0_fp32'] if (self._folder / 'lite0_fp32.onnx').exists() else []
        for name in ['fp32', 'int8', *trained]:
            path = self._folder / f'{name}.npy'
            if path.exists():
                continue
            options = onnxruntime.SessionOptions()
            # As the project's backend does: int8 must not saturate on an old CPU.
            options.add_session_config_entry('session.x64quantprecision', '1')
            session = onnxruntime.InferenceSession(
                str(self.make(name)), options, providers=['CPUExecutionProvider'])
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

    @staticmethod
    def _save(model: onnx.ModelProto, path: Path) -> None:
        onnx.checker.check_model(model, full_check=True)
        with whole_file(path) as temporary:
            onnx.save(model, str(temporary))


def main(arguments: Optional[list[str]] = None) -> None:
    """Write what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('folder', type=Path)
    parser.add_argument('frames', type=Path, help='.npy of uint8 (N, 224, 224, 3)')
    parser.add_argument('names', nargs='*', help='models to write; not given: all')
    parsed = parser.parse_args(arguments)
    workshop = Workshop(parsed.folder, parsed.frames)
    for name in parsed.names or ['fp32', 'fp16', *INT8, *FP16]:
        workshop.make(name)
    workshop.reference()
    workshop.roofline()


if __name__ == '__main__':
    main()
