"""Finding a bag on disk, and saying in words what is wrong with one that cannot be read."""

from __future__ import annotations

from pathlib import Path

from resnet_trt_node.errors import BagError

METADATA = 'metadata.yaml'
#: Endings of the files that hold messages, and rosbag2's name for the storage.
STORAGES = {'.mcap': 'mcap', '.db3': 'sqlite3'}
# Every mcap file starts and ends with these bytes; the recorder writes the last ones when it
# closes the file.
_MCAP_MAGIC = b'\x89MCAP0\r\n'
_SQLITE_MAGIC = b'SQLite format 3\x00'
_ROS1_MAGIC = b'#ROSBAG V2.0\n'


def find_bag(path: Path) -> Path:
    """
    Return what to open for a path that a user named.

    :param path: a rosbag2 folder or the metadata.yaml in it, a .mcap or .db3 file, or a ROS 1
        .bag file.
    :raises BagError: if there is no bag, or one that was not finished.
    """
    if not path.exists():
        raise BagError(f'there is no bag {path}: check the path')
    if path.name == METADATA:
        path = path.parent
    try:
        if path.is_dir():
            _check_folder(path)
        else:
            _check_file(path)
    except OSError as error:
        raise BagError(
            f'cannot read the bag {path}: {error.strerror or error}; check its permissions'
        ) from error
    return path


def _check_folder(path: Path) -> None:
    files = [file for file in sorted(path.iterdir()) if file.suffix in STORAGES]
    if not (path / METADATA).exists():
        packed = [file for file in path.iterdir() if file.suffix in ('.zstd', '.zst')]
        if not files and not packed:
            raise BagError(
                f'{path} is not a bag: a rosbag2 folder holds {METADATA} beside its .mcap or '
                '.db3 files')
        storage = STORAGES[files[0].suffix] if files else 'mcap'
        raise BagError(
            f'the bag {path} has no {METADATA}, its recording was not finished: '
            f'run `ros2 bag reindex -s {storage} {path}`')
    for file in files:
        _check_file(file)


def _check_file(path: Path) -> None:
    with path.open('rb') as file:
        head = file.read(len(_SQLITE_MAGIC))
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MCAP_MAGIC)))
        tail = file.read()
    if path.suffix == '.mcap':
        if not head.startswith(_MCAP_MAGIC):
            raise BagError(f'{path} is not a bag: it does not start like an mcap file')
        if tail != _MCAP_MAGIC or size < 2 * len(_MCAP_MAGIC):
            raise BagError(
                f'the bag {path} was cut off, its end is missing: '
                f'run `mcap recover {path} -o recovered.mcap`')
    elif path.suffix == '.db3':
        if not head.startswith(_SQLITE_MAGIC):
            raise BagError(f'{path} is not a bag: it is not an SQLite database')
    elif path.suffix == '.bag':
        if not head.startswith(_ROS1_MAGIC):
            raise BagError(f'{path} is not a bag: it does not start like a ROS 1 bag')
    else:
        raise BagError(
            f'{path} is not a bag: name a rosbag2 folder, a .mcap or .db3 file, or a ROS 1 .bag '
            'file')
