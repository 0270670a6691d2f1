"""
The node on the TensorRT backend, with stand-ins for TensorRT and CUDA in its process.

The kernel that resizes is its own source, compiled for the CPU.
"""

from __future__ import annotations

from pathlib import Path

from models.tiny_model import COLOURS, write_tiny_model
from nodes.node_process import image, NodeProcess, Peer
import numpy as np
import pytest
from repository import HELPERS

pytestmark = pytest.mark.slow

#: Gives the node's process a GPU and a TensorRT 8.6 that compute through ONNX Runtime.
STAND_INS = '\n'.join((
    'import sys',
    f'sys.path[:0] = [{str(HELPERS)!r}]',
    'import pytest',
    'from stand_ins.kernel_on_cpu import launch',
    'from stand_ins.standin_cuda import StandInCuda',
    'from stand_ins.standin_tensorrt import StandInTensorRt',
    'patch = pytest.MonkeyPatch()',
    'cuda = StandInCuda().install(patch)',
    'cuda.kernel = launch',
    "StandInTensorRt('8.6', cuda).install(patch)"))


@pytest.fixture
def arguments(tmp_path):
    """Return what the node is started with: a model, and an empty folder of engines."""
    model = write_tiny_model(tmp_path / 'tiny.onnx')
    return ['-p', f'model_path:={model}', '-p', f'engine_dir:={tmp_path / "engines"}',
            '-p', 'image_reliability:=reliable', '-p', 'diagnostics_period_sec:=0.1']


def engines(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / 'engines').glob('*.engine'))


def test_build_only_leaves_an_engine_that_the_node_then_finds(arguments, tmp_path):
    # A file for a lifecycle manager may say autostart: false; building waits for nobody.
    with NodeProcess(*arguments, '-p', 'build_only:=true', '-p', 'autostart:=false',
                     prepare=STAND_INS) as node:
        assert node.wait() == 0, node.log
    engine, = engines(tmp_path)
    assert f'engine ready: {engine}' in node.log
    assert 'active' not in node.log
    built = engine.stat().st_mtime_ns
    peer = Peer()
    try:
        peer.listen_to_results()
        with NodeProcess(*arguments, prepare=STAND_INS) as node:
            peer.connect('image')
            for number, colour in enumerate(('red', 'blue')):
                peer.publish('image', image(
                    np.full((48, 64, 3), COLOURS[colour], np.uint8), number))
                results = peer.heard['classification']
                peer.spin_until(lambda: len(results) > number, 'an answer')  # noqa: B023
                assert results[number].results[0].class_id == colour
            status = peer.status()
            assert status['backend'].startswith('tensorrt 8.6')
            assert status['engine'] == str(engine)
            peer.spin_until(lambda: 'preprocess' in peer.status(), 'its path')
            assert peer.status()['preprocess'] == 'gpu'
            assert peer.status()['receive'] == 'serialised'
            assert float(status['device_memory_mib']) >= 0
            assert status['cuda_graphs'] == 'batch sizes up to 8'
            assert node.stop() == 0, node.log
    finally:
        peer.close()
    assert engines(tmp_path) == [engine]
    assert engine.stat().st_mtime_ns == built, 'it was built again'


def test_build_only_names_what_it_cannot_build_for(arguments):
    with NodeProcess(
            *arguments[:2], '-p', 'build_only:=true', '-p', 'backend:=onnxruntime') as node:
        assert node.wait() == 2
    assert 'build_only: onnxruntime' in node.log
    assert 'Traceback' not in node.log


def test_another_precision_than_asked_for_is_refused_with_the_command(arguments):
    with NodeProcess(*arguments, '-p', 'precision:=fp16', prepare=STAND_INS) as node:
        assert node.wait() == 2
    assert 'fp16 was asked for' in node.log
    assert 'resnet_trt export' in node.log
    assert 'Traceback' not in node.log
