"""The commands of docs/how-to/offline-tools.md do as described: they are run as they stand."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil
import subprocess
import sys

from bags.detection_messages import at, detections_of
from bags.image_bags import BagWriter
import cv2
from documentation.pages import dead_links
from models.tiny_model import COLOURS, write_tiny_model
import numpy as np
import onnx
from onnx import helper, numpy_helper, TensorProto
import pytest
from repository import REPOSITORY
from resnet_trt_node.bag.message_types import DETECTIONS
from resnet_trt_node.regions.region import Region
import stalled

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'offline-tools.md'
#: Each code block with what stands right before it.
BLOCKS = re.findall(
    r'(<!--[^>]*-->\n)?```sh\n(.*?)```', PAGE.read_text(encoding='utf-8'), re.DOTALL)


def commands(network: bool) -> list[str]:
    return [
        line for note, block in BLOCKS if bool(note) == network
        for line in block.replace('\\\n', ' ').strip().splitlines()]


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    """Make a folder with the files that the page names."""
    folder = tmp_path_factory.mktemp('offline_tools')
    (folder / 'models').mkdir()
    (folder / 'photos').mkdir()
    write_tiny_model(folder / 'models' / 'resnet50.onnx')
    pictures = {'cat.jpg': 'red', 'dog.jpg': 'green'}
    for name, colour in pictures.items():
        cv2.imwrite(str(folder / 'photos' / name), np.full(
            (60, 80, 3), COLOURS[colour][::-1], np.uint8))
    (folder / 'photos' / 'labels.tsv').write_text(''.join(
        f'{name}\t{list(COLOURS).index(colour)}\n' for name, colour in pictures.items()))
    with BagWriter(folder / 'drive') as bag:
        for number, colour in enumerate(COLOURS):
            bag.write_image(
                '/camera/image_raw', np.full((48, 64, 3), COLOURS[colour], np.uint8),
                10**18 + number * 10**7, 'camera', encoding='rgb8')
            bag.write('/camera/detections', DETECTIONS, detections_of(
                10**18 + number * 10**7, Region(at(8, 8, 40, 30)), Region(at(99, 0, 9, 9))),
                10**18 + number * 10**7)
    (folder / 'photos' / 'crops.tsv').write_text(
        'file\tcenter_x\tcenter_y\twidth\theight\tclass\ncat.jpg\t40\t30\t30\t30\tred\n')
    _write_float_classifier(folder / 'float_classifier.onnx')
    return folder


def _write_float_classifier(path: Path) -> None:
    """Write a float NCHW classifier of 1000 classes at 224x224, as other tools export them."""
    weights = np.random.default_rng(0).normal(0, 1, (3, 1000)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node('GlobalAveragePool', ['input'], ['pooled']),
         helper.make_node('Flatten', ['pooled'], ['flat']),
         helper.make_node('MatMul', ['flat', 'weights'], ['logits'])], 'float_classifier',
        [helper.make_tensor_value_info('input', TensorProto.FLOAT, ['N', 3, 224, 224])],
        [helper.make_tensor_value_info('logits', TensorProto.FLOAT, ['N', 1000])],
        [numpy_helper.from_array(weights, 'weights')])
    onnx.save(helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8), str(path))


def run(
        command: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    words = command.split()
    assert words[0] == 'resnet_trt'
    return stalled.run(
        [sys.executable, '-m', 'resnet_trt_node.cli.main', *words[1:]], cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY), **environment})


@pytest.mark.parametrize('command', commands(network=False))
def test_command_runs_as_it_stands(command, workplace):
    result = run(command, workplace)
    assert result.returncode == 0, result.stderr
    assert 'Traceback' not in result.stderr
    assert result.stdout or 'replay' in command


@pytest.mark.parametrize('command', commands(network=True))
def test_command_that_needs_the_network_is_refused_in_words_without_it(command, workplace):
    result = run(command + ' --cache downloads', workplace, https_proxy='http://127.0.0.1:9')
    assert result.returncode == 2
    assert 'resnet50-11ad3fa6.pth' in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert 'Traceback' not in result.stderr


def test_what_the_commands_left(workplace):
    """Runs last: the files that the page promises are there and hold what they should."""
    assert sorted(path.name for path in (workplace / 'annotated').iterdir())
    for bag in ('drive_classified', 'drive_regions'):
        assert (workplace / bag / 'metadata.yaml').exists()
    assert (workplace / 'models' / 'mine.onnx').exists()
    shutil.rmtree(workplace / 'annotated')


def test_links_lead_somewhere():
    assert dead_links(PAGE) == []
