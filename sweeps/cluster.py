"""A sweep on the Ray cluster that its file describes: submitted and fetched with Ray's own commands."""

import json
import logging
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import click
import yaml

from mixem.errors import ConfigError, MixemError
from mixem.files import is_local, read_bytes, write_bytes
from mixem.settings import read_yaml
from sweeps.plan import Plan
from sweeps.spec import load_spec, spec_hash

logger = logging.getLogger(__name__)

BOOTSTRAP = Path("~/ray_bootstrap_config.yaml").expanduser()
"""Where `ray up` puts the cluster's file on its head."""

SCRIPT = Path(__file__).with_name("run.py")

FETCHED = ("report", "results.csv", "results.parquet", "spec.yaml", "best.yaml", "best.safetensors")
"""What of a run folder is worth a journey."""
OLDER = "the report could not be written anew; what comes is older"


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
        if not is_local(self.plan.run):
            return shlex.quote(run)
        return shlex.quote(run) if run.startswith("/") else f"~/{shlex.quote(run.removeprefix('~/'))}"

    def submit(self, retry_failed: bool = False) -> str:
        """Start the cluster or bring it up to date, and run the sweep there, detached; returns where to look.

        A running cluster is neither restarted nor stopped. Raises MixemError where Ray would do so (`check_head`), and
        when a command of Ray fails, such as on a head that holds another sweep or where a launch is under way.
        """
        options = ["--expect", spec_hash(self.plan.spec)]
        options += [word for assignment in self.overrides for word in ("--set", shlex.quote(assignment))]
        options += ["--retry-failed"] if retry_failed else []
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
            f"Ray's own messages are in ray.log of the run folder; `ray down {file}` ends the cluster"
        )

    def fetch(self, out: Path | None = None) -> str:
        """Copy the report, the tables and the best configuration to a folder (none: fetched/NAME), as far as they are.

        They are written anew first, so that they show a sweep under way as it stands; where that fails, a warning says
        so. Returns what came; raises MixemError when there is nothing yet.
        """
        out = out or Path("fetched") / self.plan.spec.name
        with tempfile.TemporaryDirectory() as arrived:
            if is_local(self.plan.run):
                self._carry(Path(arrived))
            else:
                _copy(self.plan.run, Path(arrived))
            came = [name for name in FETCHED if (Path(arrived) / name).exists()]
            if not came:
                raise MixemError(f"nothing to fetch yet: {self.run} holds no results")
            shutil.copytree(arrived, out, dirs_exist_ok=True)
        return f"fetched to {out}: {', '.join(came)}"

    def _carry(self, out: Path) -> None:
        """Through the head, on whose disk the run folder lies."""
        luggage, run = f"~/.mixem-fetch/{self.plan.spec.name}/", self.run
        renew = f"[ ! -e {run}/spec.yaml ] || mixem report {run} >/dev/null || touch {luggage}older"
        pack = f"for name in {' '.join(FETCHED)}; do [ ! -e {run}/$name ] || cp -r {run}/$name {luggage} || exit; done"
        _ray("exec", self.file, f"rm -rf {luggage}; mkdir -p {luggage}; {renew}; {pack}")
        _ray("rsync-down", self.file, luggage, f"{out}/")
        if (out / "older").exists():
            (out / "older").unlink()
            logger.warning("%s: %s", run, OLDER)


def _copy(run: Path, out: Path) -> None:
    """From an object storage, which needs no cluster."""
    if (run / "spec.yaml").exists():
        from analysis.findings import Findings
        from analysis.report import write_answer

        try:
            write_answer(Findings.of(run))
        except (MixemError, OSError) as error:
            logger.warning("%s: %s (%s)", run, OLDER, error)
    for name in FETCHED:
        found = [run / name] if (run / name).is_file() else [path for path in run.glob(f"{name}/*") if path.is_file()]
        for path in found:
            write_bytes(out / path.relative_to(run).as_posix(), read_bytes(path))


def check_cluster(file: Path) -> None:
    """Let Ray check the part of a file that describes the cluster; raises ConfigError."""
    import jsonschema
    from ray.autoscaler._private.providers import _get_node_provider_cls
    from ray.autoscaler._private.util import prepare_config, validate_config

    document = read_yaml(file)
    schema = json.loads((resources.files("ray.autoscaler") / "ray-schema.json").read_text(encoding="utf-8"))
    try:
        jsonschema.validate(document, schema)
        config = prepare_config(document)
        validate_config(config)
        _get_node_provider_cls(config["provider"])
    except ImportError as error:
        raise ConfigError(f"{file}: provider {document['provider']['type']} needs the package {error.name}") from None
    except Exception as error:  # schema errors, failed assertions, ends of the command line: Ray refuses in many ways
        reason = getattr(error, "message", None) or f"{type(error).__name__}: {error}"
        where = getattr(error, "json_path", "$").removeprefix("$").removeprefix(".")
        raise ConfigError(
            f"{file}: not a Ray cluster's configuration ({f'{where}: ' if where else ''}{reason})"
        ) from None


def check_head(file: Path) -> None:
    """Refuse a file with which even `ray up --no-restart` would end what runs on the head; raises MixemError."""
    _check_tools()
    try:
        ended = _ended_by_up(yaml.safe_load(file.read_text(encoding="utf-8")))  # as Ray reads it: hashes are compared
    except click.ClickException as error:
        reason = " ".join(error.message.split()) or "its message stands above"
        raise MixemError(f"{file}: Ray cannot look at the running head ({reason})") from None
    if ended:
        raise MixemError(
            f"{file}: Ray would {ended}, and end what runs there; "
            "fetch the results and `ray down` the cluster first, with the file that started it"
        )


def _ended_by_up(config: dict[str, Any]) -> str | None:
    """What Ray itself finds to be out of date with a file, on a head that runs."""
    from ray.autoscaler._private import commands
    from ray.autoscaler._private.providers import _get_node_provider
    from ray.autoscaler._private.util import hash_launch_conf
    from ray.autoscaler.tags import NODE_KIND_HEAD, TAG_RAY_NODE_KIND

    provider = _get_node_provider(config["provider"], config["cluster_name"])
    heads = provider.non_terminated_nodes({TAG_RAY_NODE_KIND: NODE_KIND_HEAD})
    if not heads:
        return None
    config = commands._bootstrap_config(config)
    name, auth, kind = config["cluster_name"], config["auth"], config["head_node_type"]
    node = config.get("head_node", {}) | config["available_node_types"][kind]["node_config"]
    if commands._should_create_new_head(heads[0], hash_launch_conf(node, auth), kind, provider):
        return "replace the running head, as its type, node_config or auth differs"
    docker = config.get("docker", {})
    if not docker.get("container_name"):
        return None
    internal = config["provider"].get("use_internal_ips") and not config["provider"].get("use_external_head_ip")
    head = provider.get_command_runner("", heads[0], auth, name, subprocess, bool(internal), docker)
    image = docker.get("head_image", docker.get("image"))
    if head._check_container_status() and head._check_if_container_restart_is_needed(image, config["file_mounts"]):
        return "restart the head's container, as it lacks one of the file_mounts"
    return None


def nodes_to_come(file: Path = BOOTSTRAP) -> list[dict[str, float]]:
    """What each node has that the autoscaler can start: node types with workers in the file that `ray up` brought."""
    if not file.exists():
        return []
    types = json.loads(file.read_text(encoding="utf-8")).get("available_node_types", {})
    return [node.get("resources", {}) for node in types.values() if node.get("max_workers")]


def _check_tools() -> None:
    for tool in ("ssh", "rsync"):
        if not shutil.which(tool):
            raise MixemError(f"{tool}: not found; Ray reaches a cluster through it")


def _ray(*arguments: object) -> None:
    _check_tools()
    words = [str(argument) for argument in arguments]
    code = subprocess.run([sys.executable, "-m", "ray.scripts.scripts", *words]).returncode
    if code:
        raise MixemError(f"`ray {shlex.join(words)}` ended with exit code {code}; its message stands above")
