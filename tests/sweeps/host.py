"""A machine of its own for a test: private processes, network, mounts and home; `ray stop` ends nothing outside."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.sweeps.launch import COMMAND, ROOT, run_to_end, start, wait_for

UNSHARE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--mount", "--net")
BIN = Path(sys.executable).parent
SYSTEM = f"{os.environ['PATH']}:/usr/sbin:/sbin"
"""Where programs are, those of an administrator too."""
SHIM = """#!/bin/bash
# Stands in for ssh: runs the command here, without the caller's environment. Options come first, some with a value.
while [[ $1 == -* ]]; do case $1 in -i|-o|-l|-L) shift 2 ;; *) shift ;; esac; done
shift  # user@host
cd ~ && exec env -i HOME="$HOME" bash -c "$*"
"""
TOKEN = "0" * 64
SSHD = """Port 22
ListenAddress 127.0.0.1
HostKey {keys}/server
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
"""


class Host:
    """Runs commands inside; `home` is the home folder there, of its user root, and Ray's head is this machine."""

    def __init__(self, init: int, folder: Path) -> None:
        """`init`: process id of the first process inside; `folder`: where its files lie."""
        self.init, self.home, self.programs = init, folder / "home", folder / "bin"
        self.key: Path | None = None
        """What an ssh server inside lets in. If None, there is no server."""

    def command(self, *words: object) -> list[str]:
        """What runs `words` inside."""
        path = f"{self.programs}:{BIN}:{os.environ['PATH']}"
        home = self.home
        environment = ["env", f"--chdir={home}", f"HOME={home}", f"TMPDIR={home}", f"PATH={path}", f"PYTHONPATH={ROOT}"]
        enter = ["nsenter", f"--target={self.init}", "--pid", "--mount", "--net"]
        return [*enter, *environment, *map(str, words)]

    def run(self, *words: object) -> "subprocess.CompletedProcess[str]":
        """Run a command inside to its end; its output holds its errors too."""
        return run_to_end(start(*self.command(*words)))

    def mixem(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run `mixem ARGUMENTS` inside."""
        return self.run(*COMMAND, *arguments)

    def ray(self, *arguments: object) -> "subprocess.CompletedProcess[str]":
        """Run `ray ARGUMENTS` inside."""
        return self.run(sys.executable, "-m", "ray.scripts.scripts", *arguments)

    def pids(self, name: str) -> list[str]:
        """Processes inside whose command line holds `name`."""
        return self.run("pgrep", "-f", name).stdout.split()


def lacking(programs: Sequence[str]) -> str | None:
    """Why there can be no such machine here, or None."""
    absent = [program for program in ("unshare", "nsenter", *programs) if not shutil.which(program, path=SYSTEM)]
    if absent:
        return f"not installed: {', '.join(absent)}"
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        return "namespaces need more rights: unshare is refused"
    return None


@contextmanager
def private_host(ssh: str) -> Iterator[Host]:
    """A machine that ends with the block; `ssh`: "shim", or "sshd" for a real server on its loopback.

    Its files lie in a folder of its own whose path is short enough for sockets. Its Ray answers those alone who know
    the token in its home.
    """
    with TemporaryDirectory(prefix="host", dir="/tmp", ignore_cleanup_errors=True) as name:
        yield from _machine(Path(name), ssh)


def _machine(folder: Path, ssh: str) -> Iterator[Host]:
    for name in ("home", "bin", "ray", "home/.ray"):
        (folder / name).mkdir()
    (folder / "home" / ".ray" / "auth_token").write_text(TOKEN)
    setting = {"PATH": f"{BIN}:$PATH", "PYTHONPATH": ROOT, "TMUX_TMPDIR": folder, "RAY_AUTH_MODE": "token"}
    (folder / "home" / ".bashrc").write_text("".join(f"export {key}={value}\n" for key, value in setting.items()))
    (folder / "passwd").write_text(
        f"root:x:0:0::{folder}/home:/bin/bash\nsshd:x:104:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    Path("/tmp/ray").mkdir(exist_ok=True)
    prepare = (
        f"ip link set lo up && mount --bind {folder}/ray /tmp/ray && mount --bind {folder}/passwd /etc/passwd"
        f" && touch {folder}/ready; sleep infinity & wait"  # as process 1, bash takes leave of orphans that ended
    )
    with start(*UNSHARE, "bash", "-c", prepare, stdout=None, stderr=None) as process:
        try:
            wait_for((folder / "ready").exists)
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
            host = Host(int(children), folder)
            if ssh == "shim":
                (host.programs / "ssh").write_text(SHIM)
                (host.programs / "ssh").chmod(0o755)
            else:
                start_sshd(host, folder / "keys")
            yield host
        finally:
            process.kill()


def start_sshd(host: Host, folder: Path) -> None:
    """A real ssh server inside, with keys in `folder`."""
    folder.mkdir()
    for name in ("server", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "config").write_text(SSHD.format(keys=folder))
    Path("/run/sshd").mkdir(exist_ok=True)
    started = host.run(shutil.which("sshd", path=SYSTEM), "-f", folder / "config")
    assert started.returncode == 0, started.stdout
    host.key = folder / "user"
