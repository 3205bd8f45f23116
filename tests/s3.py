"""A real S3-protocol server on loopback, and a network that can be cut."""

import contextlib
import http.client
import os
import re
import secrets
import select
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixem.files import run_path


class S3:
    """Moto's server in a process of its own. The environment names it while the context is open."""

    def __init__(self) -> None:
        self.bucket = f"sweeps-{secrets.token_hex(4)}"

    def __enter__(self) -> "S3":
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 60
        while self._create_bucket() != 200:
            assert time.monotonic() < end
            assert self.process.poll() is None
            time.sleep(0.05)
        self.environment = pytest.MonkeyPatch()
        for key in [key for key in os.environ if key.startswith("AWS_")]:
            self.environment.delenv(key)
        self.environment.setenv("AWS_ACCESS_KEY_ID", "test")
        self.environment.setenv("AWS_SECRET_ACCESS_KEY", "test")
        self.environment.setenv("AWS_DEFAULT_REGION", "us-east-1")
        self.environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{self.port}")
        return self

    def __exit__(self, *_: object) -> None:
        self.environment.undo()
        self.process.kill()
        self.process.wait()
        for scratch in Path("~/.cache/mixem/runs").expanduser().glob(f"s3-{self.bucket}-*"):
            shutil.rmtree(scratch)

    def _create_bucket(self) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("PUT", f"/{self.bucket}")
            return connection.getresponse().status
        return 0

    def folder(self) -> Path:
        """A run folder of its own."""
        return run_path(f"s3://{self.bucket}/{secrets.token_hex(4)}/run")


class Relay(socketserver.ThreadingTCPServer):
    """Passes bytes on to a server, until it is closed: its port then refuses connections."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int, target: int, unheeded: str | None) -> None:
        super().__init__(("127.0.0.1", port), _Relayed)
        self.target, self.open = target, True
        self.unheeded = re.compile(rf"^{unheeded}:.*\r\n".encode(), re.I | re.M) if unheeded else None


class _Relayed(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with socket.create_connection(("127.0.0.1", self.server.target)) as there:
            ends = {self.request: there, there: self.request}
            while self.server.open:
                for end in select.select([*ends], [], [], 0.1)[0]:
                    content = end.recv(1 << 16)
                    if not content:
                        return
                    if self.server.unheeded:
                        content = self.server.unheeded.sub(b"", content)
                    ends[end].sendall(content)


@contextlib.contextmanager
def relay(target: int, port: int = 0, unheeded: str | None = None) -> Iterator[int]:
    """Relay to `target`; gives the port to connect to. `unheeded`: a header that the server never sees."""
    with Relay(port, target, unheeded) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_address[1]
        server.open = False
        server.shutdown()
