"""A report served on loopback: its files and nothing else, to this machine and nobody else."""

import http.client
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mixem.errors import ConfigError
from mixem.files import write_bytes
from sweeps.serving import ReportServer
from tests.s3 import S3

PAGE = b"<!doctype html><title>digits</title>"


@pytest.fixture(params=["disk", pytest.param("s3", marks=pytest.mark.ray)])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ReportServer]:
    """The report of a run folder on a disk, and of one in an object storage."""
    if request.param == "s3":
        s3: S3 = request.getfixturevalue("s3")
        folder = s3.folder() / "report"
    else:
        folder = tmp_path / "run" / "report"
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "secret").write_text("secret")
    write_bytes(folder / "index.html", PAGE)
    write_bytes(folder / "accuracy.svg", b"<svg/>")
    with ReportServer(folder, 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def got(server: ReportServer, path: str, host: str = "localhost", method: str = "GET") -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.getheader("Content-Type", ""), content


def test_the_page_and_its_files_are_served(server: ReportServer) -> None:
    assert got(server, "/") == (200, "text/html", PAGE)
    assert got(server, "/index.html?again", "127.0.0.1:8000") == (200, "text/html", PAGE)
    assert got(server, "/accuracy.svg") == (200, "image/svg+xml", b"<svg/>")
    assert got(server, "/", method="HEAD") == (200, "text/html", b"")


@pytest.mark.parametrize("path", ["/absent.png", "/../secret", "/%2e%2e/secret", "//etc/passwd", "/%00"])
def test_nothing_else_is_served(server: ReportServer, path: str) -> None:
    assert got(server, path)[0] == 404


def test_a_link_does_not_lead_out_of_the_report(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "link").symlink_to(tmp_path / "secret")
    with ReportServer(tmp_path / "report", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert got(server, "/link")[0] == 404
        server.shutdown()


def test_a_page_from_elsewhere_reads_nothing(server: ReportServer) -> None:
    assert got(server, "/", "rebound.example.com")[0] == 403


def test_it_listens_on_loopback_alone_and_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with ReportServer(tmp_path, 0) as server:
        assert server.socket.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ConfigError, match=f"--port {server.server_port}: .*in use; another number, or 0"):
            ReportServer(tmp_path, server.server_port)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(ConfigError):
        ReportServer(tmp_path, taken.getsockname()[1])
