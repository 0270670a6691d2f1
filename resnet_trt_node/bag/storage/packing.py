"""What rosbag2 compresses by itself: whole files, or each message."""

from __future__ import annotations

from pathlib import Path
import shutil

from resnet_trt_node.errors import BagError
import zstandard

_MAGIC = b'\x28\xb5\x2f\xfd'
# Four times what a picture of 100 megapixels takes.
_MAX_MESSAGE_BYTES = 2**30


def unpack_file(packed: Path, target: Path) -> None:
    """
    Decompress a file.

    :raises BagError: if it is damaged.
    :raises OSError: if there is no space for it.
    """
    try:
        with packed.open('rb') as source, target.open('wb') as plain:
            reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
            shutil.copyfileobj(reader, plain)
    except zstandard.ZstdError as error:
        raise BagError(
            f'cannot read the bag {packed}: its compression is damaged, copy or record it again'
        ) from error


def unpacked(data: bytes) -> bytes:
    """
    Return a message of CDR, decompressed if it is not as it was sent.

    :raises ValueError: if it would be larger than any image.
    :raises zstandard.ZstdError: if it is damaged.
    """
    # CDR starts with a 0: no list of what is compressed is needed, which bare files lack.
    if not data.startswith(_MAGIC):
        return data
    if zstandard.frame_content_size(data) > _MAX_MESSAGE_BYTES:
        raise ValueError(f'a message of more than {_MAX_MESSAGE_BYTES >> 20} MiB')
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_MESSAGE_BYTES)
