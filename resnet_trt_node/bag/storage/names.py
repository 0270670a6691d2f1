"""Names of a bag's files; needs no bag library."""

from __future__ import annotations

from pathlib import Path

METADATA = 'metadata.yaml'
#: Suffixes of message files, and rosbag2's names of the storages.
STORAGES = {'.mcap': 'mcap', '.db3': 'sqlite3'}
#: Suffixes that rosbag2 appends to compressed files.
PACKED_SUFFIXES = ('.zstd', '.zst')
#: Suffixes of files that are a bag by themselves.
BAG_SUFFIXES = (*STORAGES, '.bag')


def is_bag(path: Path) -> bool:
    """Return whether a path is a bag, readable or not, rather than pictures."""
    if not path.is_dir():
        return path.name == METADATA or storage_suffix(path) in BAG_SUFFIXES
    try:
        # macOS adds a hidden file of the same suffix to each one that it copies.
        return any(
            file.name == METADATA or (storage_suffix(file) in BAG_SUFFIXES and not file.is_dir())
            for file in path.iterdir() if not file.name.startswith('.'))
    except OSError:  # the code that reads the folder reports the error
        return False


def storage_suffix(path: Path) -> str:
    """Return a file's suffix without that of its compression, such as '.mcap'."""
    return Path(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix
