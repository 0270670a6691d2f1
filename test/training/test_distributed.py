"""Processes that train together: all hold one network, one of them writes and prints."""

from __future__ import annotations

import ast
import os
from pathlib import Path
import subprocess
import sys

from documentation.json_schemas import checked
from pictures.shapes import write_shapes
import pytest
from repository import HELPERS, REPOSITORY
from resnet_trt_node.errors import UsageError
from resnet_trt_node.training.checkpoints.files import load_file
from resnet_trt_node.training.distributed import ProcessGroup
from resnet_trt_node.training.pruning.checkpoint import open_checkpoint
from resnet_trt_node.training.pruning.masks import check_sparse_checkpoint
import stalled
import torch

pytestmark = pytest.mark.slow

MEMBER = HELPERS / 'commands' / 'process_group_member.py'


def together(*words: str, processes: int = 2) -> subprocess.CompletedProcess[str]:
    return stalled.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node',
         str(processes), *words], cwd=REPOSITORY,
        env={**os.environ, 'PYTHONPATH': str(REPOSITORY), 'OMP_NUM_THREADS': '1'})


@pytest.fixture(scope='module')
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shapes(tmp_path_factory.mktemp('pictures') / 'set', 12)


def test_all_hold_the_same_network_after_every_step(pictures: Path, tmp_path: Path):
    done = together(str(MEMBER), str(pictures), str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = ((tmp_path / str(rank)).read_text() for rank in range(2))
    assert first == second
    _, losses, mean, averaged, shared, alone = ast.literal_eval(first)
    assert mean == 0.5
    assert averaged  # gradients and statistics are the means of all processes' own
    assert losses[-1] < losses[0]
    assert shared == pytest.approx(alone, rel=1e-5)


def test_the_commands_write_and_print_once(pictures: Path, tmp_path: Path):
    words = ['--batch-size', '12', '--epochs', '2', '--device', 'cpu']
    done = together(
        '-m', 'resnet_trt_node.cli.main', 'train', '--images', str(pictures), '--arch', 'resnet18',
        '--weights', 'random', '--image-size', '32', '--output', str(tmp_path / 'run'), *words)
    assert done.returncode == 0, done.stderr
    assert [done.stderr.count(f'epoch {number}/2') for number in (1, 2)] == [1, 1]
    assert done.stdout.count('epoch last') == 1
    document = checked((tmp_path / 'run' / 'metrics.json').read_text())
    assert [one['epoch'] for one in document['epochs']] == [1, 2]
    sparse = tmp_path / 'sparse.pth'
    done = together(
        '-m', 'resnet_trt_node.cli.main', 'prune', str(tmp_path / 'run' / 'best.pth'),
        '--finetune', str(pictures), '-o', str(sparse), *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('fine-tuned') == 1
    check_sparse_checkpoint(load_file(sparse), open_checkpoint(sparse).network, str(sparse))


def test_a_batch_that_does_not_divide_is_refused():
    group = ProcessGroup(1, 4)
    group.check_batch(64)
    assert group.shard(64) == slice(16, 32)
    with pytest.raises(UsageError, match=r'30 pictures .*--batch-size'):
        group.check_batch(30)
    with pytest.raises(UsageError, match='--batch-size 8'):
        group.check_batch(4)


def test_one_device_for_several_processes_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(UsageError, match='--device cuda:1'):
        ProcessGroup.join('cuda:1')


def test_alone_nothing_is_exchanged():
    group, device = ProcessGroup.join('cpu')
    assert (group.rank, group.size, device) == (0, 1, 'cpu')
    values = torch.arange(3.0)
    assert group.mean(values) is values
    group.leave()
