"""What the tests keep is made once, anew when its sources change, and not on a build server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import kept
from kept import folder_of, Kept
import pytest


@pytest.fixture
def made() -> list[Path]:
    return []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository with a package of one file."""
    (tmp_path / 'resnet_trt_node').mkdir()
    (tmp_path / 'resnet_trt_node' / 'one.py').write_text('one')
    monkeypatch.setattr(kept, 'REPOSITORY', tmp_path)
    monkeypatch.setattr(kept, 'HELPERS', tmp_path / 'helpers')
    return tmp_path


def test_of_many_at_once_one_makes_it(repository: Path, made: list[Path]) -> None:
    def make(folder: Path) -> None:
        made.append(folder)
        (folder / 'product').write_text('made')

    def use(number: int) -> str:
        return (Kept(repository / 'kept')('thing', make) / 'product').read_text()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(use, range(16))) == ['made'] * 16
    assert len(made) == 1


def test_another_source_makes_it_anew(repository: Path, made: list[Path]) -> None:
    extra = repository / 'recipe.sh'
    extra.write_text('1')
    keeps = Kept(repository / 'kept')
    folders = [keeps('thing', made.append, extra)]
    extra.write_text('2')
    folders.append(keeps('thing', made.append, extra))
    (repository / 'resnet_trt_node' / 'one.py').write_text('two')
    folders += [keeps('thing', made.append, extra), keeps('thing', made.append, extra)]
    assert len(made) == len(set(folders)) == 3
    assert folders[2] == folders[3]


def test_what_cannot_be_made_leaves_nothing(repository: Path, made: list[Path]) -> None:
    def fail(folder: Path) -> None:
        (folder / 'half').write_text('')
        raise OSError
    keeps = Kept(repository / 'kept')
    with pytest.raises(OSError):
        keeps('thing', fail)
    assert list(keeps('thing', made.append).iterdir()) == []


def test_a_build_server_starts_cold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(cache=SimpleNamespace(mkdir=lambda name: tmp_path / 'cache' / name))
    monkeypatch.delenv('CI', raising=False)
    assert folder_of(config, tmp_path / 'base') == tmp_path / 'cache' / 'kept'
    monkeypatch.setenv('CI', 'true')
    monkeypatch.delenv('PYTEST_XDIST_WORKER', raising=False)
    assert folder_of(config, tmp_path / 'base') == tmp_path / 'base' / 'kept'
    monkeypatch.setenv('PYTEST_XDIST_WORKER', 'gw0')
    assert folder_of(config, tmp_path / 'base' / 'gw0') == tmp_path / 'base' / 'kept'
