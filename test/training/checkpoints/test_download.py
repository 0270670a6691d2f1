"""Downloads: once, checked, whole, and one clear line where there is no network."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Callable
from urllib.error import HTTPError, URLError

import pytest
from resnet_trt_node.downloads import transfer
from resnet_trt_node.errors import ModelError
from resnet_trt_node.training.checkpoints import download

CONTENT = b'weights' * 1000
HASH = hashlib.sha256(CONTENT).hexdigest()
NAME = f'net-{HASH[:8]}.pth'
URL = f'https://example.org/models/{NAME}'


class Opener:
    """Stands in for the network; counts the calls."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        self.calls: list[str] = []
        self._answer = answer

    def __call__(self, url: str) -> Any:
        """Answer a request."""
        self.calls.append(url)
        return self._answer()


def _raise(error: Exception) -> Any:
    raise error


def _use(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> Opener:
    opener = Opener(answer)
    monkeypatch.setattr(transfer, '_open', opener)
    return opener


def test_a_checkpoint_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = _use(monkeypatch, lambda: io.BytesIO(CONTENT))
    path = download.fetch_checkpoint(URL, HASH, tmp_path / 'new' / 'cache')
    assert path == tmp_path / 'new' / 'cache' / NAME
    assert path.read_bytes() == CONTENT
    assert download.fetch_checkpoint(URL, HASH, tmp_path / 'new' / 'cache') == path
    assert opener.calls == [URL]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(('error', 'reason'), [
    (URLError('Name or service not known'), 'Name or service not known'),
    (TimeoutError('timed out'), 'timed out'),
    (ConnectionResetError(104, 'Connection reset by peer'), 'Connection reset by peer'),
    (HTTPError(URL, 403, 'Forbidden', None, None), 'HTTP 403')])  # type: ignore[arg-type]
def test_without_network_one_line_names_the_ways_out(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str) -> None:
    _use(monkeypatch, lambda: _raise(error))
    with pytest.raises(ModelError) as caught:
        download.fetch_checkpoint(URL, HASH, tmp_path)
    message = str(caught.value)
    assert URL in message
    assert reason in message
    assert str(tmp_path / NAME) in message
    assert '--weights FILE' in message
    assert '\n' not in message
    assert not list(tmp_path.iterdir())


def test_a_body_that_breaks_off_leaves_nothing(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, lambda: io.BytesIO(CONTENT[:100]))
    with pytest.raises(ModelError, match=f'published .*{HASH}: download it by hand'):
        download.fetch_checkpoint(URL, HASH, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_spoiled_cache_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opener = _use(monkeypatch, lambda: io.BytesIO(CONTENT))
    path = tmp_path / NAME
    path.write_bytes(b'spoiled')
    with pytest.raises(ModelError, match=f'{path} .*delete'):
        download.fetch_checkpoint(URL, HASH, tmp_path)
    assert not opener.calls


def test_a_folder_in_the_place_of_a_checkpoint_is_reported(tmp_path: Path) -> None:
    (tmp_path / NAME).mkdir()
    with pytest.raises(ModelError, match=f'{NAME}: it is a folder'):
        download.fetch_checkpoint(URL, HASH, tmp_path)


def test_eight_digits_in_common_are_not_enough(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _use(monkeypatch, lambda: io.BytesIO(CONTENT))
    wanted = HASH[:8] + '0' * 56
    with pytest.raises(ModelError, match=f'{HASH}, .*{wanted}'):
        download.fetch_checkpoint(URL, wanted, tmp_path)
    assert not list(tmp_path.iterdir())
