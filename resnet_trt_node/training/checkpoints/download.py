"""Fetching published checkpoints once, checked against their whole sha256."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
import shutil
import sys
from typing import IO, Optional, Union
from urllib.error import HTTPError
import urllib.request

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.errors import ModelError

CACHE_VARIABLE = 'RESNET_TRT_CACHE'
TIMEOUT_S = 30.0


def cache_folder() -> Path:
    """Return where checkpoints are kept: $RESNET_TRT_CACHE, or a folder in the XDG cache."""
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return Path(chosen)
    # The XDG specification: an empty variable counts as unset.
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'resnet_trt_node'


def fetch_checkpoint(
        url: str, sha256: str, folder: Optional[Union[str, Path]] = None) -> Path:
    """
    Return the local copy of a checkpoint, downloading it the first time.

    :param url: its address.
    :param sha256: 64 hex digits that its bytes must have. The eight in the names of published
        checkpoints are 32 bits, which another file can be made to have within minutes.
    :param folder: the cache; None for `cache_folder`.
    :returns: path of the checked file.
    :raises ModelError: if it cannot be reached, or its bytes are others.
    """
    path = Path(folder or cache_folder()) / url.rsplit('/', 1)[-1]
    if path.exists():
        _check(path, sha256, f'the cached {path}', 'delete it to download it again')
        return path
    with whole_file(path) as temporary:
        try:
            _download(url, temporary)
        # URLError, time-outs and broken connections are OSErrors; a short body is not.
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, 'reason', None) or error
            if isinstance(error, HTTPError):
                reason = f'HTTP {error.code}'
            raise ModelError(
                f'cannot download {url} ({reason}): download it by hand to {path}, '
                'or pass --weights FILE or --weights random') from error
        _check(
            temporary, sha256, f'what came from {url}',
            f'something on the way changes it; download it by hand to {path}')
    return path


def _open(url: str) -> IO[bytes]:
    response: IO[bytes] = urllib.request.urlopen(url, timeout=TIMEOUT_S)
    return response


def _download(url: str, path: Path) -> None:
    from tqdm import tqdm
    # Bars go to the terminal only; logs of pipelines stay clean.
    with _open(url) as response, path.open('wb') as file, tqdm.wrapattr(
            response, 'read', total=getattr(response, 'length', None),
            desc=url.rsplit('/', 1)[-1], disable=not sys.stderr.isatty()) as source:
        shutil.copyfileobj(source, file, 1 << 20)


def _check(path: Path, sha256: str, what: str, remedy: str) -> None:
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise ModelError(f'cannot read {what}: {error.strerror or error}') from error
    if digest != sha256:
        raise ModelError(
            f'{what} has the sha256 {digest}, the published file has {sha256}: {remedy}')
