"""A sweep on the Ray cluster that its file describes: submitted and fetched with Ray's own commands."""

import logging
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mixem.errors import MixemError
from mixem.files import read_bytes, write_bytes
from mixem.run import Run
from sweeps.head import check_cluster, check_head, check_tools
from sweeps.plan import Plan
from sweeps.spec import load_spec, spec_hash

logger = logging.getLogger(__name__)

SCRIPT = Path(__file__).with_name("run.py")

_LAYOUT = Run(Path())
FETCHED = tuple(
    path.name for path in (_LAYOUT.report_folder, *_LAYOUT.table_files, _LAYOUT.spec_file, *_LAYOUT.best_files)
)
"""What of a run folder is fetched."""
OUTDATED = "the report could not be written anew; what comes is older"


@dataclass(frozen=True)
class Cluster:
    """A cluster file, and the plan of its sweep with `overrides`."""

    file: Path
    plan: Plan
    overrides: tuple[str, ...]

    @classmethod
    def of(cls, file: Path, overrides: Iterable[str]) -> "Cluster":
        """Read and check a file, the sweep and the cluster; raises ConfigError before anything is started."""
        overrides = tuple(overrides)
        plan = Plan.of(load_spec(file, overrides))
        check_cluster(file)
        return cls(file, plan, overrides)

    @property
    def run(self) -> str:
        """The run folder as a shell on the head spells it."""
        run = str(self.plan.spec.run or self.plan.run)
        if not self.plan.run.is_local:
            return shlex.quote(run)
        return shlex.quote(run) if run.startswith("/") else f"~/{shlex.quote(run.removeprefix('~/'))}"

    def submit(self, retry_failed: bool = False, retrain: Iterable[str] = ()) -> str:
        """Start the cluster or bring it up to date, and run the sweep there, detached; returns where to look.

        A running cluster is neither restarted nor stopped. Raises MixemError where Ray would do so (`check_head`), and
        when a command of Ray fails, such as on a head that holds another sweep or where a launch is under way.
        """
        options = ["--expect", spec_hash(self.plan.spec)]
        options += [word for assignment in self.overrides for word in ("--set", shlex.quote(assignment))]
        options += ["--retry-failed"] if retry_failed else []
        options += [word for hash in self.plan.named(retrain) for word in ("--retrain", hash)]
        log = f"~/mixem-{self.plan.spec.name}.log"
        check_head(self.file)
        _ray("up", "-y", "--no-restart", self.file)
        _ray("submit", self.file, SCRIPT, "--", *options, "--dry-run")  # a detached script fails unseen
        # Ray gives the words to a shell on the head as they stand.
        _ray("submit", "--tmux", self.file, SCRIPT, "--", *options, "2>&1", "|", "tee", "-a", log)
        file, count = shlex.quote(str(self.file)), len(self.plan.trials)
        return (
            f"submitted: {self.plan.spec.name}, {count} trials; the run folder on the head is {self.run}\n"
            f"  its output     ray exec {file} 'tail -f {log}'\n"
            f"  its terminal   ray attach --tmux {file}\n"
            f"  its state      ray exec {file} {shlex.quote(f'mixem status {self.run}')}\n"
            f"  its results    mixem fetch {file}\n"
            f"Ray's own messages are in {_LAYOUT.log_file} of the run folder; `ray down {file}` ends the cluster"
        )

    def fetch(self, out: Path | None = None) -> str:
        """Copy the report, the tables and the best configuration to a folder, as far as they are.

        If `out` is None, to fetched/NAME. They are written anew first, so that they show a sweep under way as it is;
        where that fails, a warning says so. Returns what was fetched; raises MixemError when there is nothing yet.
        """
        out = out or Path("fetched") / self.plan.spec.name
        with tempfile.TemporaryDirectory() as local:
            if self.plan.run.is_local:
                self._download(Path(local))
            else:
                _copy(self.plan.run, Path(local))
            fetched = [name for name in FETCHED if (Path(local) / name).exists()]
            if not fetched:
                raise MixemError(f"nothing to fetch yet: {self.run} holds no results")
            for file in filter(Path.is_file, Path(local).rglob("*")):  # their modes stay behind
                write_bytes(out / file.relative_to(local), file.read_bytes())
        return f"fetched to {out}: {', '.join(fetched)}"

    def _download(self, out: Path) -> None:
        """Through the head, on whose disk the run folder lies."""
        staging, run = f"~/.mixem-fetch/{self.plan.spec.name}/", self.run
        renew = f"[ ! -e {run}/{_LAYOUT.spec_file} ] || mixem report {run} >/dev/null || touch {staging}older"
        pack = f"for name in {' '.join(FETCHED)}; do [ ! -e {run}/$name ] || cp -r {run}/$name {staging} || exit; done"
        _ray("exec", self.file, f"rm -rf {staging}; mkdir -p {staging}; {renew}; {pack}")
        _ray("rsync-down", self.file, staging, f"{out}/")
        if (out / "older").exists():
            (out / "older").unlink()
            logger.warning("%s: %s", run, OUTDATED)


def _copy(run: Run, out: Path) -> None:
    """From an object storage, which needs no cluster."""
    if run.spec_file.exists():
        from analysis.findings import Findings
        from analysis.report import write_answer

        try:
            write_answer(Findings.of(run))
        except (MixemError, OSError) as error:
            logger.warning("%s: %s (%s)", run, OUTDATED, error)
    for name in FETCHED:
        place = run.path / name
        files = [place] if place.is_file() else [path for path in place.glob("*") if path.is_file()]
        for path in files:
            write_bytes(out / path.relative_to(run.path).as_posix(), read_bytes(path))


def _ray(*arguments: object) -> None:
    check_tools()
    words = [str(argument) for argument in arguments]
    code = subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words]).returncode
    if code:
        raise MixemError(f"`ray {shlex.join(words)}` ended with exit code {code}; its message stands above")
