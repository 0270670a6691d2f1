"""A web server of models that can be told to misbehave."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Callable, Union

Answer = Callable[[BaseHTTPRequestHandler], None]


class ModelServer:
    """
    Serves a folder on the loopback interface; a context manager.

    :param folder: of the files.
    """

    def __init__(self, folder: Path) -> None:
        #: Name of a file to its content, or to what answers in its place.
        self.instead: dict[str, Union[bytes, Answer]] = {}
        #: Names of the files that were asked for.
        self.asked: list[str] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers one request."""

            def do_GET(self) -> None:
                name = self.path.lstrip('/')
                server.asked.append(name)
                answer = server.instead.get(name)
                if callable(answer):
                    answer(self)
                    return
                path = folder / name
                if answer is None and not path.is_file():
                    self.send_error(404)
                    return
                send(self, path.read_bytes() if answer is None else answer)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._http = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self._http.daemon_threads = True
        self._thread = Thread(target=self._http.serve_forever, args=(0.05,), daemon=True)
        self.address = f'http://127.0.0.1:{self._http.server_port}'

    def __enter__(self) -> ModelServer:
        """Serve."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(60)


def send(request: BaseHTTPRequestHandler, content: bytes, stated: int = -1) -> None:
    """Send content; `stated` bytes are announced, -1 for as many as there are, -2 for none."""
    request.send_response(200)
    if stated != -2:
        request.send_header('Content-Length', str(len(content) if stated == -1 else stated))
    request.end_headers()
    request.wfile.write(content)


def redirect_to(address: str) -> Answer:
    """Return an answer that sends on to another address."""
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(302)
        request.send_header('Location', address)
        request.send_header('Content-Length', '0')
        request.end_headers()
    return answer


def left_over(folder: Path) -> list[str]:
    """Return the temporary files that somebody left anywhere in a folder."""
    return [str(path) for path in folder.rglob('*.tmp')]
