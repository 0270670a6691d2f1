"""Files are there whole or not at all, and never in the place of what must stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from resnet_trt_node.atomic_file import check_place, whole_file
from resnet_trt_node.cli.main import main
from resnet_trt_node.errors import UsageError


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / 'new' / 'file'
    with whole_file(path) as temporary:
        temporary.write_text('whole')
        assert not path.exists()
    assert path.read_text() == 'whole'

    def fail(temporary: Path) -> None:
        temporary.write_text('half')
        raise ValueError('no')
    with pytest.raises(ValueError, match='no'), whole_file(path) as temporary:
        fail(temporary)
    assert path.read_text() == 'whole'
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('refuse', [check_place, lambda path: whole_file(path).__enter__()])
def test_what_is_no_ordinary_file_is_not_replaced(tmp_path: Path, refuse) -> None:
    # As /dev/null is, which root could replace for the whole machine.
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with pytest.raises(UsageError, match='ordinary file'):
        refuse(pipe)
    with pytest.raises(UsageError, match='folder'):
        refuse(tmp_path)
    assert list(tmp_path.iterdir()) == [pipe]


def test_a_place_that_cannot_be_written_to_is_reported_beforehand(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(UsageError, match='Not a directory'):
        check_place(tmp_path / 'file' / 'out')
    check_place(tmp_path / 'new' / 'folder' / 'out')
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize('refuse', [check_place, lambda path: whole_file(path).__enter__()])
def test_a_name_that_is_too_long_is_reported_beforehand(tmp_path: Path, refuse) -> None:
    with pytest.raises(UsageError, match='File name too long'):
        refuse(tmp_path / ('n' * 256))
    assert not list(tmp_path.iterdir())


def test_the_longest_name_of_all_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ('n' * 255)
    check_place(path)
    with whole_file(path) as temporary:
        temporary.write_text('whole')
    assert path.read_text() == 'whole'


def test_links_that_wait_under_the_usual_temporary_names_are_not_followed(tmp_path: Path) -> None:
    # In /tmp or a shared folder, another user can put links where a name is known beforehand.
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    shared = tmp_path / 'shared'
    shared.mkdir()
    for name in (f'.out.{os.getpid()}.tmp', '.out.tmp', 'out.tmp', f'out.{os.getpid()}.tmp'):
        (shared / name).symlink_to(victim)
    with whole_file(shared / 'out') as temporary:
        temporary.write_text('whole')
    assert victim.read_text() == 'precious'
    assert (shared / 'out').read_text() == 'whole'
    assert not (shared / 'out').is_symlink()


def test_a_link_under_the_very_temporary_name_is_refused(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / 'victim'
    victim.write_text('precious')
    monkeypatch.setattr('secrets.token_hex', lambda count: 'guessed')
    (tmp_path / '.guessed.tmp').symlink_to(victim)
    with pytest.raises(UsageError, match='File exists'), \
            whole_file(tmp_path / 'out') as temporary:
        temporary.write_text('whole')
    assert victim.read_text() == 'precious'
    assert (tmp_path / '.guessed.tmp').is_symlink()


def test_two_writers_at_once_and_the_umask(tmp_path: Path) -> None:
    path = tmp_path / 'out'
    before = os.umask(0o027)
    try:
        with whole_file(path) as one, whole_file(path) as other:
            assert one != other
            one.write_text('one')
            other.write_text('other')
    finally:
        os.umask(before)
    # The outer block ends last.
    assert path.read_text() == 'one'
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
@pytest.mark.parametrize('words', [
    ['export', '--weights', 'weights', '-o', 'weights'], ['prune', 'a.pth', '-o', './a.pth'],
    ['prune', 'a.onnx', '-o', 'link.onnx'],
    ['prepare', 'a.onnx', '-o', 'a.onnx', '--mean', '0.5', '--std', '0.5']])
def test_no_command_writes_over_what_it_reads(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
        words: list[str]) -> None:
    from resnet_trt_node.training.networks.resnet import ResNet
    import torch
    torch.save(ResNet('resnet18', 3).state_dict(), tmp_path / 'a.pth')
    (tmp_path / 'weights').write_bytes((tmp_path / 'a.pth').read_bytes())
    (tmp_path / 'a.onnx').write_bytes(b'a model')
    (tmp_path / 'link.onnx').symlink_to('a.onnx')
    monkeypatch.chdir(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert main(words) == 2
    assert 'another file' in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
