"""Names in zip files: those of Windows have backslashes and, at times, another encoding."""

from __future__ import annotations

import struct
from typing import Optional
from zipfile import ZipInfo
import zlib

#: Bit of the flags that says that a name is UTF-8.
_UTF_8 = 0x800
#: Field beside a name with its UTF-8 form, as WinZip, WinRAR and Info-ZIP write it.
_UNICODE_PATH = 0x7075
#: Systems on which a file's name holds no backslash: FAT, OS/2, Windows NTFS and VFAT.
_OF_WINDOWS = (0, 6, 10, 14)
UTF_8, CODE_PAGE = 'UTF-8', 'code page 437'


def member_name(member: ZipInfo) -> str:
    """
    Return the plain name of a member of a zip file.

    :param member: a name that is not marked as UTF-8 is UTF-8 where the file says so elsewhere or
        its bytes are, since programs on macOS and Linux forget the mark; else it is of code page
        437, as the format has it.
    """
    name = member.filename
    if encoding_of(member) == UTF_8 or _unicode_path(member) is not None:
        name = (_unicode_path(member) or _raw(member).decode('utf-8')).split('\0')[0]
    if member.create_system in _OF_WINDOWS:
        name = name.replace('\\', '/')
    return plain_name(name)


def encoding_of(member: ZipInfo) -> str:
    """Return what a name was taken for, `UTF_8` or `CODE_PAGE`; '' where that is no question."""
    if member.flag_bits & _UTF_8 or member.orig_filename.isascii() or _unicode_path(
            member) is not None:
        return ''
    try:
        _raw(member).decode('utf-8')
    except UnicodeDecodeError:
        return CODE_PAGE
    return UTF_8


def plain_name(name: str) -> str:
    """Return a name in a zip file without './', a first '/' and doubled ones."""
    if '/' not in name:
        name = name.replace('\\', '/')
    parts = [part for part in name.split('/') if part not in ('', '.')]
    return '/'.join(parts) + ('/' if parts and name.endswith('/') else '')


def _raw(member: ZipInfo) -> bytes:
    """Return a name's bytes, which Python read as code page 437."""
    return member.orig_filename.encode('cp437')


def _unicode_path(member: ZipInfo) -> Optional[str]:
    """Return the UTF-8 form of a name where the file has one that belongs to it."""
    if member.flag_bits & _UTF_8 or member.orig_filename.isascii():
        return None
    extra = member.extra
    while len(extra) >= 4:
        kind, length = struct.unpack_from('<HH', extra)
        field, extra = extra[4:4 + length], extra[4 + length:]
        if kind == _UNICODE_PATH and len(field) == length > 5:
            version, digest = struct.unpack_from('<BI', field)
            # A name that was changed since has another digest.
            if version == 1 and digest == zlib.crc32(_raw(member)):
                try:
                    return field[5:].decode('utf-8')
                except UnicodeDecodeError:
                    return None
    return None
