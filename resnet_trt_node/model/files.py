"""Writing a file so that it is there whole or not at all."""

from __future__ import annotations

from contextlib import contextmanager
import os
from pathlib import Path
from typing import Iterator, Union

from resnet_trt_node.errors import UsageError


@contextmanager
def whole_file(path: Union[str, Path]) -> Iterator[Path]:
    """
    Give a temporary name beside `path`; rename it when the block ends, remove it if it fails.

    :param path: the file to write; missing folders above it are made, an older file stays until
        the new one is complete.
    :returns: the name to write to.
    :raises UsageError: if the place cannot be written to.
    """
    path = Path(path)
    if path.is_dir():
        raise UsageError(f'{path} is a folder: name a file in it')
    # Its own name for each process: two that write the same file do not mix their bytes.
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise UsageError(
            f'cannot write {path}: {error.strerror or error}; choose another place') from error
    finally:
        if temporary.exists():
            temporary.unlink()
