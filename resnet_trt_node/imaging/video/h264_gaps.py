"""
Whether pictures of an H.264 stream got lost, by the numbers that its slices carry.

libavcodec conceals a lost picture: those that refer to it come out wrong, and unmarked. But every
picture says how many reference pictures came before it (ITU-T H.264, 7.4.3, frame_num), which is
read here. H.265 needs none of this, since its decoder leaves out what refers to a lost picture.
"""

from __future__ import annotations

import re
from typing import Optional

#: What is read of a NAL unit: headers are shorter, and slices need not be copied as a whole.
_HEADER_BYTES = 512
_UNIT = re.compile(b'\x00\x00\x01(?=.)', re.DOTALL)
_SLICES, _IDR, _PARAMETERS = (1, 2, 5), 5, 7
#: Profiles whose parameters say more of the colours.
_HIGH_PROFILES = (100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135)


class PictureNumbers:
    """
    Follows the numbers of one stream.

    Not seen are the loss of exactly as many pictures as the numbers count, 16 in most streams, of
    a key frame whose successor continues the numbers before it, and any loss in a stream that
    allows gaps, as those with temporal layers do.
    """

    def __init__(self) -> None:
        # Bits of a number; None before any parameters, and where gaps are no losses.
        self._bits: Optional[int] = None
        self._has_colour_planes = self._has_fields = False
        self._last: Optional[int] = None

    def are_broken_by(self, packet: bytes) -> bool:
        """
        Take the next packet; tell whether pictures between it and the one before are missing.

        :param packet: a byte stream of Annex B. What cannot be read breaks nothing: the decoder
            explains it.
        """
        broken = False
        for found in _UNIT.finditer(packet):
            start = found.end()
            kind, is_reference = packet[start] & 31, packet[start] >> 5 & 3 > 0
            if kind not in (*_SLICES, _PARAMETERS):
                continue
            header = packet[start + 1:start + 1 + _HEADER_BYTES].replace(
                b'\x00\x00\x03', b'\x00\x00')
            try:
                if kind == _PARAMETERS:
                    self._read_parameters(_Bits(header))
                else:
                    broken |= self._is_gap(_Bits(header), kind == _IDR, is_reference)
            except IndexError:
                self._last = None
        return broken

    def _read_parameters(self, bits: _Bits) -> None:
        profile = bits.number(8)
        bits.number(16)
        bits.exponential()
        self._has_colour_planes = False
        if profile in _HIGH_PROFILES:
            chroma = bits.exponential()
            if chroma == 3:
                self._has_colour_planes = bool(bits.number(1))
            bits.exponential()
            bits.exponential()
            bits.number(1)
            if bits.number(1):
                for place in range(12 if chroma == 3 else 8):
                    if bits.number(1):
                        bits.skip_scaling_list(16 if place < 6 else 64)
        number_bits = bits.exponential() + 4
        order = bits.exponential()
        if order == 0:
            bits.exponential()
        elif order == 1:
            bits.number(1)
            bits.exponential()
            bits.exponential()
            for _ in range(bits.exponential()):
                bits.exponential()
        bits.exponential()
        may_have_gaps = bits.number(1)
        self._bits = None if may_have_gaps else number_bits
        bits.exponential()
        bits.exponential()
        self._has_fields = not bits.number(1)

    def _is_gap(self, bits: _Bits, is_idr: bool, is_reference: bool) -> bool:
        if self._bits is None:
            return False
        begins = bits.exponential() == 0
        bits.exponential()
        bits.exponential()
        if self._has_colour_planes:
            bits.number(2)
        number, last = bits.number(self._bits), self._last
        # Another picture may have the number of a reference only as its second field.
        is_next = is_idr or last is None or number == (last + 1) % (1 << self._bits) or (
            number == last and (self._has_fields or not begins))
        if is_reference or not is_next:
            self._last = number
        return not is_next


class _Bits:
    """
    Reads bits from the left.

    :param data: without the bytes that keep start codes apart. Reading on behind it raises
        IndexError.
    """

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, 'big')
        self._left = 8 * len(data)

    def number(self, bits: int) -> int:
        """Return an unsigned number of so many bits."""
        if bits > self._left:
            raise IndexError('the header is cut off')
        self._left -= bits
        return self._value >> self._left & ((1 << bits) - 1)

    def exponential(self) -> int:
        """Return a number in Exp-Golomb code, unsigned."""
        zeros = 0
        while not self.number(1):
            zeros += 1
        return (1 << zeros) - 1 + self.number(zeros)

    def skip_scaling_list(self, size: int) -> None:
        """Read over a list of scaling factors, which ends early where the next one is 0."""
        last = 8
        for _ in range(size):
            code = self.exponential()
            # Signed: 1, -1, 2, -2, ...
            last = (last + ((code + 1) // 2 if code % 2 else -code // 2)) % 256
            if not last:
                return
