"""What Ray itself would do: whether it takes a cluster's file, what it would end or start, what its workers import."""

import json
import os
import shutil
import subprocess
from importlib import resources
from pathlib import Path
from typing import Any

import click
import yaml

from mixem.errors import ConfigError, MixemError
from mixem.settings import read_yaml

PACKAGES = Path(__file__).resolve().parent.parent
"""The folder that holds our packages."""
BOOTSTRAP = Path(os.path.expanduser("~/ray_bootstrap_config.yaml"))  # noqa: PTH111 - raises nothing without a home folder
"""Where `ray up` puts the cluster's file on its head."""


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
    check_tools()
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


def autoscaled_nodes(file: Path = BOOTSTRAP) -> list[dict[str, float]]:
    """What each node has that the autoscaler may start, as the file says that `ray up` left on this head.

    As many of each type as that allows; of all together `max_autoscaled_nodes` at a time. Empty without such a file.
    """
    if not file.exists():
        return []
    types = json.loads(file.read_text(encoding="utf-8")).get("available_node_types", {}).values()
    return [node.get("resources", {}) for node in types for _ in range(node.get("max_workers") or 0)]


def max_autoscaled_nodes(file: Path = BOOTSTRAP) -> int | None:
    """How many nodes the autoscaler may start. If None, no file says so."""
    if not file.exists():
        return None
    limit: int | None = json.loads(file.read_text(encoding="utf-8")).get("max_workers")
    return limit


def job_config() -> Any:
    """What `ray.init` is given so that workers import our packages, whatever lies where the command was given.

    Ray would put the current folder and the script's first on its workers' path, unless a job brings its folder along.
    """
    from ray.job_config import JobConfig

    class OwnPath(JobConfig):
        def _runtime_env_has_working_dir(self) -> bool:
            return True

    return OwnPath(_py_driver_sys_path=[str(PACKAGES)])


def check_tools() -> None:
    """Raise MixemError where a program is absent through which Ray reaches a cluster."""
    for tool in ("ssh", "rsync"):
        if not shutil.which(tool):
            raise MixemError(f"{tool}: not found; Ray reaches a cluster through it")
