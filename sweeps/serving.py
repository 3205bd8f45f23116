"""A run's report for a browser on this machine or, through `ssh -L`, on another one; also from an object storage."""

import mimetypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from mixem.errors import ConfigError
from mixem.files import is_local, read_bytes

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost")
"""What a browser may call this server: a page from elsewhere that has itself resolved to loopback reads nothing."""
INDEX = "index.html"


class ForThisMachine(BaseHTTPRequestHandler):
    """Answers to browsers that call the server by a name of this machine: no page of elsewhere reaches it."""

    def parse_request(self) -> bool:
        """Whether a request is to be answered; says why not."""
        if not super().parse_request():
            return False
        if (self.headers.get("Host") or "").rsplit(":", 1)[0] in NAMES:
            return True
        self.send_error(HTTPStatus.FORBIDDEN, "served to this machine alone")
        return False

    def log_message(self, format: str, *values: object) -> None:
        """Nothing: the terminal is the user's."""


@contextmanager
def free(port: int) -> Iterator[None]:
    """Raise ConfigError where a server cannot be started in the block because its port is taken."""
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--port {port}: {error.strerror}; another number, or 0 for any that is free") from None


def until_interrupted(server: HTTPServer, what: str, say: Callable[[str], object]) -> None:
    """Say where a server shows something, and let it do so until Ctrl-C."""
    say(f"http://{LOOPBACK}:{server.server_port}/ shows {what}; Ctrl-C ends it")
    with suppress(KeyboardInterrupt):
        server.serve_forever()


class ReportServer(ThreadingHTTPServer):
    """Serves the files of one folder, and nothing that lies elsewhere, on loopback alone."""

    daemon_threads = True

    def __init__(self, folder: Path, port: int) -> None:
        """`port`: 0 for any free one. Raises ConfigError where it is taken."""
        self.folder = folder
        with free(port):
            super().__init__((LOOPBACK, port), _Request)

    def content(self, name: PurePosixPath) -> bytes:
        """A file's content. Raises OSError for what is not there, not in the folder, or led out of it by a link."""
        file = self.folder / name
        outside = name.is_absolute() or ".." in name.parts
        if outside or (is_local(file) and not file.resolve().is_relative_to(self.folder.resolve())):
            raise FileNotFoundError(name)
        return read_bytes(file)


class _Request(ForThisMachine):
    server: ReportServer

    def do_GET(self) -> None:
        """Send a file of the folder, as it is now."""
        self._answer(self.wfile.write)

    def do_HEAD(self) -> None:
        """Say what would be sent."""
        self._answer(lambda content: None)

    def _answer(self, send: Callable[[bytes], object]) -> None:
        name = PurePosixPath(unquote(urlsplit(self.path).path).lstrip("/") or INDEX)
        try:
            content = self.server.content(name)
        except (OSError, ValueError):  # such as a name with a NUL
            return self.send_error(HTTPStatus.NOT_FOUND)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", mimetypes.guess_type(name.name)[0] or "application/octet-stream")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        send(content)


def serve(folder: Path, port: int, say: Callable[[str], object]) -> None:
    """Serve a folder with a page until Ctrl-C. Raises ConfigError where the port is taken."""
    with ReportServer(folder, port) as server:
        until_interrupted(server, str(folder / INDEX), say)
