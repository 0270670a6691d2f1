"""Fetching published checkpoints once, checked against their whole sha256."""

from __future__ import annotations

from pathlib import Path
import sys
from typing import Optional, Union

from resnet_trt_node.atomic_file import whole_file
from resnet_trt_node.contract.model_file import file_sha256
from resnet_trt_node.downloads.transfer import cache_folder, copy_checked, Source
from resnet_trt_node.errors import DownloadError, ModelError


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
        _check(path, sha256)
        return path
    with whole_file(path) as temporary:
        try:
            _download(url, temporary, sha256)
        except DownloadError as error:
            raise ModelError(
                f'{error}: download it by hand to {path}, or pass --weights FILE or '
                '--weights random') from error
    return path


def _download(url: str, path: Path, sha256: str) -> None:
    from tqdm import tqdm
    # Bars go to the terminal only; logs of pipelines stay clean.
    with Source(url) as source, tqdm(
            desc=url.rsplit('/', 1)[-1], total=source.size, unit='B', unit_scale=True,
            disable=not sys.stderr.isatty()) as bar:
        copy_checked(source, path, sha256, watch=lambda count, total: bar.update(count))


def _check(path: Path, sha256: str) -> None:
    try:
        digest = file_sha256(path)
    except OSError as error:
        raise ModelError(f'cannot read the cached {path}: {error.strerror or error}') from error
    if digest != sha256:
        raise ModelError(
            f'the cached {path} has the sha256 {digest}, the published file has {sha256}: '
            'delete it to download it again')
