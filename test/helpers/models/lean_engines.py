"""Engines for tests of the lean runtime, which a full TensorRT has to build."""

from __future__ import annotations

from dataclasses import fields
import os
from pathlib import Path
import pickle
import subprocess
import sys
from tempfile import TemporaryDirectory
from typing import Any, Sequence, Union

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


def link_lean_library(folder: Path, places: Sequence[str]) -> bool:
    """
    Give the lean library of wheels the name that the builder looks for, with its whole version.

    :param folder: where the links go.
    :param places: folders with wheels; those beside them count too, one for each version.
    :returns: whether there is any.
    """
    found = {library for place in filter(None, places)
             for parent in (Path(place), Path(place).parent)
             for pattern in ('tensorrt_lean*', '*/tensorrt_lean*')
             for library in parent.glob(f'{pattern}/libnvinfer_lean.so.*')}
    for library in found:
        version = next(iter(library.parent.parent.glob('tensorrt_lean*.dist-info')), None)
        if version is not None:
            number = version.name.removesuffix('.dist-info').rpartition('-')[2]
            link = folder / f'libnvinfer_lean.so.{number}'
            if not link.is_symlink():
                link.symlink_to(library)
    return any(folder.iterdir())


def build_elsewhere(path: Union[str, Path], options: dict[str, Any]) -> None:
    """
    Build it in a process of its own: one process is not sure to bear two TensorRTs.

    :raises ResnetTrtError: as the build does.
    """
    given = {name: value for name, value in options.items() if name != 'log'}
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join(part for part in sys.path if part)}
    with TemporaryDirectory() as folder:
        if link_lean_library(Path(folder), sys.path):
            environment['LD_LIBRARY_PATH'] = os.pathsep.join(filter(None, (
                folder, environment.get('LD_LIBRARY_PATH'))))
        done = subprocess.run(
            [sys.executable, __file__], input=pickle.dumps((str(path), given)),
            stdout=subprocess.PIPE, timeout=900, env=environment)
    if done.returncode:
        kind, _, text = done.stdout.decode().partition(' ')
        raise getattr(errors, kind, RuntimeError)(text)


if __name__ == '__main__':
    try:
        build_for_lean(*pickle.loads(sys.stdin.buffer.read()))
    except Exception as error:
        print(type(error).__name__, error, end='')
        sys.exit(1)
