"""What `mixem doctor` looks at: whether a sweep would run on this machine, and what mends what is missing."""

import importlib.util
import os
import platform
import shutil
import socket
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from analysis.answers import DoctorAnswer, DoctorCheck
from mixem.errors import CREDENTIALS
from mixem.hardware import cores, cpu_name, cpu_precision, gpu_names

MIN_PYTHON = (3, 11)
MIN_MEMORY = 2 * 2**30
"""Bytes that Ray, the driver and one worker take (docs/performance.md has the measured ones)."""
MIN_DISK = 2**30
"""Bytes of a small sweep and of Ray's own files."""
EXTRAS = {
    "s3": ("s3fs", "run folders on s3://"),
    "gs": ("gcsfs", "run folders on gs://"),
    "onnx": ("onnxruntime", "mixem export --format onnx"),
    "dashboard": ("optuna-dashboard", "mixem dashboard"),
    "mlflow": ("mlflow-skinny", "mixem track --to mlflow"),
    "wandb": ("wandb", "mixem track --to wandb"),
}
"""Extras of our package: a package that shows that it is there, and what it is for."""
DATASETS = ("fashion_mnist", "cifar10", "cifar100_20", "stl10")


def examine(folder: Path) -> DoctorAnswer:
    """Look at all of it; `folder` is where run folders would lie."""
    checks = [check for look in LOOKS for check in look(folder)]
    return DoctorAnswer(ok=not any(check.state == "no" for check in checks), checks=checks)


def _ok(name: str, text: str) -> DoctorCheck:
    return DoctorCheck(name=name, state="ok", text=text, mend=None)


def _note(name: str, text: str, mend: str | None = None) -> DoctorCheck:
    return DoctorCheck(name=name, state="note", text=text, mend=mend)


def _no(name: str, text: str, mend: str) -> DoctorCheck:
    return DoctorCheck(name=name, state="no", text=text, mend=mend)


def _python(folder: Path) -> Iterator[DoctorCheck]:
    found, needed = platform.python_version(), ".".join(map(str, MIN_PYTHON))
    if sys.version_info < MIN_PYTHON:
        yield _no("Python", f"{found}, {needed} or newer is needed", f"python{needed} -m venv .venv")
    else:
        yield _ok("Python", f"{found}, {sys.executable}")
    yield _ok("processor", f"{cores()} cores to use, {cpu_name()}, {cpu_precision()}")


def _packages(folder: Path) -> Iterator[DoctorCheck]:
    """Whether torch and Ray can be imported: what is installed may still not fit the machine."""
    for name in ("torch", "ray"):
        try:
            importlib.import_module(name)
            yield _ok(name, version(name))
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            yield _no(name, f"cannot be imported ({reason})", "pip install --force-reinstall mixem-sweeps")


def _gpus(folder: Path) -> Iterator[DoctorCheck]:
    """The GPUs that the driver names, and whether torch can use them and compile for them."""
    names = gpu_names()
    try:
        import torch

        usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
        built = torch.version.cuda
    except Exception:  # said above
        return
    if not names and not usable:
        yield _note("GPUs", "none; trials train on the CPU")
    elif not usable:
        why = f"torch is built for CUDA {built}" if built else "torch is built for CPUs alone"
        mend = "update the NVIDIA driver" if built else "pip install --force-reinstall torch torchvision"
        yield _no("GPUs", f"{', '.join(names)}, which torch cannot use ({why})", mend)
    else:
        yield _ok(
            "GPUs", f"{usable} of {max(usable, len(names))} usable, {torch.cuda.get_device_name(0)}, CUDA {built}"
        )
        yield from _compiler()


def _compiler() -> Iterator[DoctorCheck]:
    """Whether torch.compile finds what it needs: Triton, a C compiler and Python's headers."""
    headers = Path(sysconfig.get_paths()["include"]) / "Python.h"
    compiler = shutil.which(os.environ.get("CC") or "gcc") or shutil.which("clang")
    minor = f"python{sys.version_info.major}.{sys.version_info.minor}"
    if importlib.util.find_spec("triton") is None:
        yield _no("compiling", "Triton is missing", "pip install triton, or --set runtime.compile=false")
    elif compiler is None:
        yield _no("compiling", "no C compiler", "apt-get install gcc, or --set runtime.compile=false")
    elif not headers.exists():
        mend = f"apt-get install {minor}-dev, or --set runtime.compile=false"
        yield _no("compiling", f"{headers} is missing", mend)
    else:
        yield _ok("compiling", f"Triton {version('triton')}, {compiler}")


def _memory(folder: Path) -> Iterator[DoctorCheck]:
    values = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available = int(values["MemAvailable"].split()[0]) * 1024
    if available < MIN_MEMORY:
        yield _no("memory", f"{_gib(available)} available, {_gib(MIN_MEMORY)} are needed", "end other programs")
    else:
        yield _ok("memory", f"{_gib(available)} available")


def _disk(folder: Path) -> Iterator[DoctorCheck]:
    """Room and the right to write where run folders lie, and where Ray puts its own files."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    for name, place in (("disk", there), ("temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(place).free
        if not os.access(place, os.W_OK):
            yield _no(name, f"{place} cannot be written to", f"chmod u+w {place}, or another folder")
        elif free < MIN_DISK:
            yield _no(name, f"{_gib(free)} free in {place}, {_gib(MIN_DISK)} are needed", "make room")
        else:
            yield _ok(name, f"{_gib(free)} free in {place}")
    try:
        home = Path.home()
        yield (
            _ok("home folder", str(home))
            if os.access(home, os.W_OK)
            else _no("home folder", f"{home} cannot be written to", "export HOME=FOLDER")
        )
    except RuntimeError:
        yield _no("home folder", "there is none", "export HOME=FOLDER")


def _ports(folder: Path) -> Iterator[DoctorCheck]:
    """Whether Ray can listen on this machine."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            yield _ok("ports", f"can listen on 127.0.0.1, such as on {server.getsockname()[1]}")
    except OSError as error:
        mend = "allow this user to listen on 127.0.0.1"
        yield _no("ports", f"cannot listen on 127.0.0.1 ({error.strerror})", mend)


def _datasets(folder: Path) -> Iterator[DoctorCheck]:
    from mixem.config import DataConfig
    from mixem.data.sources import SOURCES, present_files

    yield _ok("digits", "comes with scikit-learn")
    for name in DATASETS:
        place, files = present_files(DataConfig.model_validate({"name": name}))
        if len(files) == len(SOURCES[name].files):
            yield _ok(name, str(place))
        else:
            yield _note(name, "not here", f"mixem data {name}")


def _extras(folder: Path) -> Iterator[DoctorCheck]:
    for extra, (package, use) in EXTRAS.items():
        try:
            yield _ok(extra, f"{package} {version(package)}, for {use}")
        except PackageNotFoundError:
            yield _note(extra, f"{package} is not installed, for {use}", f"pip install 'mixem-sweeps[{extra}]'")


def _storage(folder: Path) -> Iterator[DoctorCheck]:
    """Where s3:// would lead, and whether there are credentials; nothing is sent."""
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
    endpoint = CREDENTIALS.sub(r"\1…@", endpoint)
    named = "AWS_ACCESS_KEY_ID" in os.environ or "AWS_PROFILE" in os.environ
    if named or Path("~/.aws").expanduser().is_dir():
        yield _ok("object storage", f"s3:// is {endpoint}; credentials are set, and have not been tried")
    else:
        yield _note("object storage", f"s3:// is {endpoint}; no credentials are set here", "aws configure")


LOOKS: tuple[Callable[[Path], Iterator[DoctorCheck]], ...] = (
    *(_python, _packages, _gpus, _memory, _disk, _ports, _datasets, _storage, _extras),
)


def _gib(size: float) -> str:
    return f"{size / 2**30:,.1f} GiB"


def check_line(check: DoctorCheck) -> str:
    """A check as a line."""
    mend = f"; {check.mend}" if check.mend else ""
    return f"{check.state:5} {check.name}: {check.text}{mend}"


def verdict(answer: DoctorAnswer) -> str:
    """What the checks come to, as a line."""
    if answer.ok:
        return "A sweep would run on this machine; what a note lacks is optional."
    failed = ", ".join(check.name for check in answer.checks if check.state == "no")
    return f"A sweep would fail on this machine: {failed}."
