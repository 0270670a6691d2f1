"""Messages that rosbag2 has compressed one by one."""

from __future__ import annotations

import zstandard

_MAGIC = b'\x28\xb5\x2f\xfd'
# Four times what a picture of 100 megapixels takes.
_MAX_MESSAGE_BYTES = 2**30


def unpacked(data: bytes) -> bytes:
    """
    Return a CDR message, decompressed if necessary.

    :raises ValueError: if it would be larger than any image.
    :raises zstandard.ZstdError: if it is damaged.
    """
    # CDR starts with a 0, so the magic number is enough; bare files do not list the compression.
    if not data.startswith(_MAGIC):
        return data
    if zstandard.frame_content_size(data) > _MAX_MESSAGE_BYTES:
        raise ValueError(f'a message of more than {_MAX_MESSAGE_BYTES >> 20} MiB')
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=_MAX_MESSAGE_BYTES)
