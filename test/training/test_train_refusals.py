"""`resnet_trt train`: what it refuses in one line, and pictures that it can leave out."""

from __future__ import annotations

import os
from pathlib import Path
import re
import shutil
from typing import Callable

from commands.train_command import train
from documentation.json_schemas import checked
from pictures.shapes import CLASSES, write_shapes
import pytest
from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.cli.main import main
from resnet_trt_node.downloads import transfer
from resnet_trt_node.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., str]:
    """Return what runs a command that must be refused by one line and leave nothing behind."""
    def run(data: Path, *words: str) -> str:
        capsys.readouterr()
        assert train(data, tmp_path / 'out', *words) == 2
        captured = capsys.readouterr()
        assert captured.out == ''
        assert captured.err.startswith('resnet_trt train: ')
        assert captured.err.count('\n') == 1
        assert not (tmp_path / 'out').exists()
        return captured.err

    return run


@pytest.mark.parametrize(('words', 'keyword'), [
    (['--resume'], r'last\.pth to continue'),
    (['--batch-size', '1'], '--batch-size 1'),
    (['--image-size', '16'], '--image-size 16'),
    (['--resize', '20'], '--resize 20'),
    (['--validation', 'none'], 'zip file none'),
    (['--weights', 'none.pth'], r'none\.pth'),
    (['--weights', 'imagenet1k_v2'], 'no imagenet1k_v2 .*resnet18'),
    (['--device', 'cuda:77'], '--device cuda:77'),
    (['--save-every', '0'], '--save-every 0'),
    (['--threads', '-1'], '--threads -1'),
    (['--epochs', '2', '--warmup-epochs', '3'], '--warmup-epochs 3')])
def test_what_cannot_be_used_is_one_line_and_nothing_is_left(
        divided_shapes: Path, refused: Callable[..., str], words: list[str], keyword: str):
    assert re.search(keyword, refused(divided_shapes, *words))


def test_unreachable_weights_are_one_line(
        divided_shapes: Path, tmp_path: Path, refused: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch):
    def unreachable(url: str) -> object:
        raise OSError('Network is unreachable')

    monkeypatch.setattr(transfer, '_open', unreachable)
    message = refused(
        divided_shapes, '--weights', 'imagenet1k_v1', '--cache', str(tmp_path / 'cache'))
    assert 'cannot download' in message
    assert '--weights FILE or --weights random' in message


def test_corrupt_pictures_are_listed_and_left_out_on_request(
        tmp_path: Path, refused: Callable[..., str], capsys: pytest.CaptureFixture[str]):
    data = write_shapes(tmp_path / 'data', 5)
    whole = (data / 'circle' / '000.png').read_bytes()
    (data / 'circle' / '000.png').write_bytes(whole[:200])
    message = refused(data, '--epochs', '1')
    assert '1 of 15 pictures' in message
    assert 'circle/000.png' in message
    assert train(data, tmp_path / 'out', '--epochs', '1', '--skip-bad', '--json') == 0
    captured = capsys.readouterr()
    assert 'left out circle/000.png' in captured.err
    assert checked((tmp_path / 'out' / 'metrics.json').read_text())['corrupt'][0][
        'name'] == 'circle/000.png'
    document = checked(captured.out)
    assert document['labels'] == list(CLASSES)
    assert 0 <= document['summary']['last']['top1'] <= 1


def test_file_names_that_are_no_unicode_are_trained_with_and_reported(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = write_shapes(tmp_path / 'data', 4)
    names = [os.fsdecode(name) for name in (b'caf\xe9.png', b'caf\xe8.png')]
    try:
        shutil.copy(data / 'circle' / '000.png', data / 'circle' / names[0])
    except OSError:
        pytest.skip('this file system takes Unicode only')
    (data / 'circle' / names[1]).write_bytes(b'broken')
    assert train(data, tmp_path / 'out', '--epochs', '1', '--skip-bad') == 0
    assert 'left out circle/caf\\udce8.png' in capsys.readouterr().err
    document = checked((tmp_path / 'out' / 'metrics.json').read_text(encoding='utf-8'))
    assert document['corrupt'][0]['name'] == f'circle/{names[1]}'
    assert train(data, tmp_path / 'new', '--epochs', '1') == 2
    assert re.search(r'--skip-bad .*circle/caf\\udce8', capsys.readouterr().err)


@pytest.mark.parametrize(('broken', 'message'), [
    ('empty', 'without pictures'), ('one', 'one class only, circle'),
    ('stray', 'outside of'), ('none', 'no class folders')])
def test_data_that_cannot_be_used_is_refused(
        tmp_path: Path, refused: Callable[..., str], broken: str, message: str):
    data = write_shapes(tmp_path / 'data', 2)
    if broken == 'empty':
        (data / 'hexagon').mkdir()
    elif broken == 'stray':
        shutil.copy(data / 'cross' / '000.png', data)
    else:
        for name in CLASSES[1 if broken == 'one' else 0:]:
            shutil.rmtree(data / name)
    assert message in refused(data)


def test_a_diverging_training_leaves_nothing(
        divided_shapes: Path, refused: Callable[..., str]):
    message = refused(
        divided_shapes, '--lr', '900', '--warmup-epochs', '0', '--epochs', '3', '--json')
    assert 'lower --lr' in message


def test_a_run_is_not_kept_among_the_pictures(
        divided_shapes: Path, tmp_path: Path, refused: Callable[..., str],
        monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    # Neither pictures nor weights are read before.
    unread = ('--weights', str(tmp_path / 'missing.pth'))
    assert f'--output {tmp_path}/out lies in --images' in refused(tmp_path, *unread)
    (tmp_path / 'link').symlink_to(tmp_path)
    assert 'lies in --images' in refused(tmp_path / 'link', *unread)
    assert 'lies in --validation' in refused(
        divided_shapes, '--validation', str(tmp_path), *unread)
    monkeypatch.chdir(tmp_path)
    assert main(['train', '--images', '.', *unread]) == 2
    assert '--output training lies in --images .,' in capsys.readouterr().err
    assert main(['train', '--images', '.', '--output', '.', *unread]) == 2
    assert '--output . lies in --images .,' in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_reported_before_training(
        divided_shapes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / 'file').write_text('x')
    assert train(divided_shapes, tmp_path / 'file' / 'out') == 2
    assert 'another --output' in capsys.readouterr().err
    with pytest.raises(UsageError, match='cannot write'), \
            whole_file(tmp_path / 'file' / 'out' / 'x'):
        pass
