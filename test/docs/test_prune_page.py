"""The commands of docs/how-to/prune.md are real, and its links lead somewhere."""

from __future__ import annotations

import re

import cv2
import numpy as np
import onnx
import pytest
from repository import REPOSITORY
from resnet_trt_node.cli.main import COMMANDS, main, parser_for
from resnet_trt_node.contract.sparsity import two_four_layers
from resnet_trt_node.node.ros.parameters.node_parameters import parameter_fields
from resnet_trt_node.training.checkpoints.files import TrainedModel
from resnet_trt_node.training.export import export_resnet
from resnet_trt_node.training.networks.random_weights import initialise
from resnet_trt_node.training.networks.resnet import ResNet
import torch

pytestmark = pytest.mark.slow

PAGE = REPOSITORY / 'docs' / 'how-to' / 'prune.md'
TEXT = PAGE.read_text(encoding='utf-8')
RUN = [line for block in re.findall(r'```sh\n(.*?)```', TEXT, re.DOTALL)
       for line in block.strip().splitlines()]
#: Not run here: they need a GPU.
SHOWN = [line.strip() for line in re.findall(r'^    (resnet_trt .*)$', TEXT, re.MULTILINE)]
CLASSES = ('cat', 'dog')


@pytest.fixture(scope='module')
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp('prune_page')
    for name, level in zip(CLASSES, (60, 200)):
        (folder / 'pictures' / name).mkdir(parents=True)
        for number in range(4):
            cv2.imwrite(str(folder / 'pictures' / name / f'{number}.png'),
                        np.full((32, 32, 3), level + number, np.uint8))
    network = ResNet('resnet18', len(CLASSES))
    initialise(network, 0)
    (folder / 'runs' / 'mine').mkdir(parents=True)
    torch.save({**TrainedModel('resnet18', CLASSES, 32, 32).to_dict(),
                'state_dict': network.state_dict()}, folder / 'runs' / 'mine' / 'best.pth')
    export_resnet('resnet18', 'random', folder / 'models' / 'resnet50.onnx', num_classes=3,
                  image_size=32)
    return folder


def test_the_commands_run_one_after_the_other(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    assert len(RUN) == 4
    for command in RUN:
        words = command.split()[1:]
        # As it stands, only shorter.
        short = ['--epochs', '1', '--batch-size', '3', '--device', 'cpu']
        assert main([*words, *(short if '--finetune' in words else [])]) == 0
        printed = capsys.readouterr().out
        if '--finetune' in words:
            assert re.findall(r'^(before|pruned|fine-tuned) +top-1', printed, re.MULTILINE) == [
                'before', 'pruned', 'fine-tuned']
    for name in ('sparse.onnx', 'sparse_fp16.onnx', 'models/resnet50_sparse.onnx'):
        assert len(two_four_layers(onnx.load(name))) == 19
    assert {'last.pth', 'best.pth', 'metrics.json'} <= {
        path.name for path in (workplace / 'runs' / 'sparse').iterdir()}


def parser_of(command):
    return parser_for(command).commands[command]


def test_the_others_are_understood():
    assert [line.split()[1] for line in SHOWN] == ['quantize', 'build', 'compare']
    for line in SHOWN:
        command, *words = line.split()[1:]
        # Quantising is another issue's command until it is there.
        if command in COMMANDS:
            parsed = parser_of(command).parse_args(words)
            assert command == 'quantize' or parsed.sparse_weights


def test_what_is_named_exists():
    known = set()
    for command in ('prune', 'build', 'compare', 'export'):
        known |= set(re.findall(r'--[a-z-]+', parser_of(command).format_help()))
    assert set(re.findall(r'`(--[a-z-]+)', TEXT)) <= known
    assert 'sparse_weights' in parameter_fields()


def test_links_lead_somewhere():
    for link in re.findall(r'\]\((?!http)([^)#]+)', TEXT):
        assert (PAGE.parent / link).exists(), link
