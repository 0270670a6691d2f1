"""Engines for tests of the lean runtime, which a full TensorRT has to build."""

from __future__ import annotations

from dataclasses import fields
import os
from pathlib import Path
import pickle
import subprocess
import sys
from typing import Any, Union

from resnet_trt_node import errors
from resnet_trt_node.backends.cuda.device import CudaDevice
from resnet_trt_node.backends.tensorrt import versions
from resnet_trt_node.backends.tensorrt.engine import EngineSource
from resnet_trt_node.backends.tensorrt.options import TensorRtOptions


def build_for_lean(path: Union[str, Path], options: dict[str, Any]) -> None:
    """Build here what `tensorrt_lean` opens with these options, if it is not there."""
    known = {option.name for option in fields(TensorRtOptions)}
    chosen = TensorRtOptions(**{
        **{name: value for name, value in options.items() if name in known},
        'version_compatible': True})
    with CudaDevice(chosen.device) as device:
        EngineSource(versions.load_module('tensorrt'), 'tensorrt', path, chosen, device).get(
            must_store=True)


def build_elsewhere(path: Union[str, Path], options: dict[str, Any]) -> None:
    """
    Build it in a process of its own: one process is not sure to bear two TensorRTs.

    :raises ResnetTrtError: as the build does.
    """
    given = {name: value for name, value in options.items() if name != 'log'}
    done = subprocess.run(
        [sys.executable, __file__], input=pickle.dumps((str(path), given)),
        stdout=subprocess.PIPE, timeout=900,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(part for part in sys.path if part)})
    if done.returncode:
        kind, _, text = done.stdout.decode().partition(' ')
        raise getattr(errors, kind, RuntimeError)(text)


if __name__ == '__main__':
    try:
        build_for_lean(*pickle.loads(sys.stdin.buffer.read()))
    except Exception as error:
        print(type(error).__name__, error, end='')
        sys.exit(1)
