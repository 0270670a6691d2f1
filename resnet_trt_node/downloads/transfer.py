"""
Bytes from an http or https address, or from a file, copied with their size and sha256 checked.

Nothing else is opened, and no redirect leads anywhere else: what is fetched comes from an index
that somebody else may have written.
"""

from __future__ import annotations

import hashlib
import http.client
import os
from pathlib import Path
import re
from typing import Callable, IO, Optional, Union
from urllib.error import HTTPError
from urllib.parse import urlsplit
import urllib.request

from resnet_trt_node.closing import Closing
from resnet_trt_node.errors import DownloadError, UsageError
from resnet_trt_node.regular_file import open_regular
from resnet_trt_node.user_folders import full_path, user_cache

CACHE_VARIABLE = 'RESNET_TRT_CACHE'
#: How long an address may say nothing.
TIMEOUT_S = 30.0
#: The most that a file without a stated size may have: protobuf's limit for a model.
MAX_BYTES = (1 << 31) - 1
_PIECE_BYTES = 1 << 18

#: Takes the bytes that came, and how many there will be in all, None if that is not known.
Watch = Callable[[int, Optional[int]], object]


def cache_folder() -> Path:
    """
    Return where downloads are kept: $RESNET_TRT_CACHE, or a folder in the user's cache.

    :raises UsageError: if the user's home is needed and unknown.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    return full_path(CACHE_VARIABLE, chosen) if chosen else user_cache()


def is_address(text: str) -> bool:
    """
    Tell whether a text is an http or https address rather than a path.

    :raises UsageError: for an address of another kind, or one that cannot be used.
    """
    found = re.match(r'([A-Za-z][A-Za-z0-9+.-]*)://', text)
    if found is None:
        return False
    if found[1].lower() not in ('http', 'https'):
        raise UsageError(
            f'{text}: only http:// and https:// are opened; for a folder write its path')
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f'{text} is no address that can be opened: {error}') from error
    if not host or not text.isascii() or not text.isprintable() or ' ' in text:
        raise UsageError(f'{text} is no address that can be opened: write https://HOST/PATH')
    if parts.username is not None:
        # It would be shown in messages, and urllib takes it for a part of the host's name.
        raise UsageError('the address holds a user name: leave it out, none is sent')
    return True


class Source(Closing):
    """
    Where bytes come from.

    :param place: an http or https address, or a file.
    :raises DownloadError: if it cannot be opened.
    """

    def __init__(self, place: Union[str, Path]) -> None:
        self.place = place
        #: How many bytes it states that it has, None if it does not.
        self.size: Optional[int] = None
        try:
            if isinstance(place, Path):
                self._stream: IO[bytes] = open_regular(place)
                self.size = os.fstat(self._stream.fileno()).st_size
            else:
                self._stream = _open(place)
                self.size = getattr(self._stream, 'length', None)
        except _FAILURES as error:
            raise self._explained(error) from error

    def read(self, most: int) -> bytes:
        """
        Return the next bytes, none at the end.

        :raises DownloadError: if the connection breaks, or nothing came for `TIMEOUT_S`.
        """
        try:
            return self._stream.read(most)
        except _FAILURES as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> DownloadError:
        return DownloadError(f'cannot download {self.place} ({_reason(error)})' if isinstance(
            self.place, str) else f'cannot read {self.place} ({_reason(error)})')

    def close(self) -> None:
        """Close the connection or file."""
        self._stream.close()


#: URLError, time-outs and broken connections are OSErrors; a short body or no HTTP at all is not.
#: Names of hosts that cannot be encoded are ValueErrors.
_FAILURES = (OSError, http.client.HTTPException, ValueError)


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        if 300 <= error.code < 400:
            return f'it redirects to {error.url}, which is not followed'
        return f'HTTP {error.code}'
    if isinstance(error, http.client.HTTPException):
        return f'the answer is no whole HTTP: {type(error).__name__} {error}'.rstrip()
    # A URLError wraps another; the numbers of system errors mean nothing to most readers.
    reason = getattr(error, 'reason', None) or error
    return str(getattr(reason, 'strerror', None) or reason) or type(error).__name__


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect to another scheme, and none that gives encryption up."""

    def redirect_request(
            self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str,
            headers: http.client.HTTPMessage,
            newurl: str) -> Optional[urllib.request.Request]:
        scheme = urlsplit(newurl).scheme
        if scheme != 'https' and scheme != req.type:
            raise HTTPError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Not build_opener, which would also open files, FTP and data addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
            urllib.request.ProxyHandler, urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler, urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPErrorProcessor, _Redirects, urllib.request.UnknownHandler):
        opener.add_handler(handler())
    return opener


def _open(url: str) -> IO[bytes]:
    response: IO[bytes] = _opener().open(url, timeout=TIMEOUT_S)
    return response


def copy_checked(
        source: Source, target: Path, sha256: str, size: Optional[int] = None,
        watch: Watch = lambda count, total: None) -> None:
    """
    Copy what a source has into a file, and check that it is what is due.

    :param source: is read to its end, but not further than `size`.
    :param target: the file to write, a temporary one: a failure leaves it half written.
    :param sha256: 64 hex digits that the bytes must have.
    :param size: how many bytes there must be; None takes what the source states.
    :param watch: is called with each piece.
    :raises DownloadError: if the source breaks off, or has others or more bytes.
    """
    if None not in (size, source.size) and size != source.size:
        raise DownloadError(f'{source.place} has {source.size} bytes, {size} are due')
    due = source.size if size is None else size
    digest, count = hashlib.sha256(), 0
    with target.open('wb') as file:
        for piece in iter(lambda: source.read(_PIECE_BYTES), b''):
            count += len(piece)
            if count > (MAX_BYTES if due is None else due):
                raise DownloadError(
                    f'{source.place} sends more than the {due or MAX_BYTES} bytes that are due')
            digest.update(piece)
            file.write(piece)
            watch(len(piece), due)
    if due not in (None, count):
        raise DownloadError(f'{source.place} broke off after {count} of {due} bytes')
    if digest.hexdigest() != sha256:
        raise DownloadError(
            f'what came from {source.place} has the sha256 {digest.hexdigest()}, the published '
            f'file has {sha256}')
