"""What a bag's files are called; needs no library of bags."""

from __future__ import annotations

from pathlib import Path

METADATA = 'metadata.yaml'
#: Endings of the files that hold messages, and rosbag2's name for the storage.
STORAGES = {'.mcap': 'mcap', '.db3': 'sqlite3'}
#: What rosbag2 appends where it compresses whole files.
PACKED_SUFFIXES = ('.zstd', '.zst')
#: Endings of the files that are a bag by themselves.
BAG_SUFFIXES = (*STORAGES, '.bag')


def is_bag(path: Path) -> bool:
    """Tell whether a path names a bag, readable or not, rather than pictures."""
    if not path.is_dir():
        return path.name == METADATA or storage_suffix(path) in BAG_SUFFIXES
    try:
        # macOS hides a file of the same ending beside each one that it copies.
        return any(
            file.name == METADATA or (storage_suffix(file) in BAG_SUFFIXES and not file.is_dir())
            for file in path.iterdir() if not file.name.startswith('.'))
    except OSError:  # whoever reads the folder says why it cannot be listed
        return False


def storage_suffix(path: Path) -> str:
    """Return a file's ending without that of its compression, such as '.mcap'."""
    return Path(path.stem).suffix if path.suffix in PACKED_SUFFIXES else path.suffix
