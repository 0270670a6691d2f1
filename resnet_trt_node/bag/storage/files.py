"""Opens message files of any format, and describes errors of reading one."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
import shlex
import shutil
from tempfile import TemporaryDirectory
from typing import Optional, Union

from resnet_trt_node.bag.storage.layout import check_file
from resnet_trt_node.bag.storage.mcap_file import McapFile
from resnet_trt_node.bag.storage.names import PACKED_SUFFIXES, storage_suffix
from resnet_trt_node.bag.storage.ros1_file import Ros1File
from resnet_trt_node.bag.storage.sqlite_file import SqliteFile
from resnet_trt_node.errors import BagError
from resnet_trt_node.text.printable import one_line
import zstandard

#: A file of messages. Its topics are `connections` with the number of their messages; a topic may
#: have several. The log times are from `start_ns` to `end_ns`; both are 0 without messages.
MessageFile = Union[McapFile, Ros1File, SqliteFile]
_KINDS: dict[str, type[MessageFile]] = {
    '.mcap': McapFile, '.db3': SqliteFile, '.bag': Ros1File}
_REMEDIES = {
    '.mcap': 'run `mcap recover {path} -o recovered.mcap`, or copy it again',
    '.db3': 'run `sqlite3 {path} .recover | sqlite3 recovered.db3`, or copy it again',
    '.bag': 'run `rosbag reindex {path}`, or copy it again',
}


def open_file(path: Path, stack: ExitStack, scratch: Optional[Path] = None) -> MessageFile:
    """
    Open a file, decompressed if necessary.

    :param path: a file that has passed `layout.check_file`.
    :param stack: removes the decompressed file.
    :param scratch: the folder that it goes to, made if necessary; None for that of TMPDIR.
    :raises BagError: if it cannot be read.
    """
    if path.suffix not in PACKED_SUFFIXES:
        return _open(path)
    if scratch is not None:
        scratch.mkdir(mode=0o700, exist_ok=True)
    folder = Path(stack.enter_context(TemporaryDirectory(prefix='bag.', dir=scratch)))
    plain = folder / path.stem
    try:
        with path.open('rb') as packed, plain.open('wb') as target:
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            shutil.copyfileobj(reader, target)
    except zstandard.ZstdError as error:
        raise BagError(
            f'cannot read the bag {path}: its compression is damaged, copy or record it again'
        ) from error
    except OSError as error:
        raise BagError(
            f'cannot unpack the bag {path} in {folder.parent}: {error.strerror or error}; set '
            'TMPDIR to a folder with more space') from error
    try:
        check_file(plain)
        return _open(plain)
    except BagError as error:
        raise BagError(
            f'cannot read the bag {path}: what is packed in it is damaged; run '
            f'`zstd -d {shlex.quote(str(path))}` and name the unpacked file to see how') from error


def _open(path: Path) -> MessageFile:
    try:
        return _KINDS[storage_suffix(path)](path)
    except BagError:
        raise
    # The libraries do not wrap the errors of their parsers.
    except Exception as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: Exception) -> BagError:
    """Return the error for a file that could not be read."""
    if isinstance(error, OSError) and error.strerror:
        return BagError(f'cannot read the bag {path}: {error.strerror}')
    if isinstance(error, MemoryError):
        return BagError(f'cannot read the bag {path}: it takes more memory than there is')
    reason = one_line(error).rstrip('.') or type(error).__name__
    remedy = 'copy it again' if path.suffix in PACKED_SUFFIXES else _REMEDIES[
        path.suffix].format(path=shlex.quote(str(path)))
    return BagError(f'cannot read the bag {path}: it is damaged ({reason}); {remedy}')
