"""The errors a user can meet. Each message is one line that says what to change."""

import re

CREDENTIALS = re.compile(r"(\w+:/{1,2})[^\s/]*:\S*@")
"""Name and password of a URL, as it was given or as a path shows it; a secret key may hold slashes."""


class MixemError(Exception):
    """Base of every error this project raises on purpose; the command line shows its message only.

    It leaves out the credentials of a URL.
    """

    exit_code = 1

    def __init__(self, message: str = "") -> None:
        super().__init__(CREDENTIALS.sub(r"\1…@", message))


class ConfigError(MixemError):
    """A setting is unknown, of the wrong type or out of range: names key, value and what is allowed."""

    exit_code = 2


def needs_extra(what: str, extra: str, reason: object) -> ConfigError:
    """The error of what cannot be had without the packages of an extra of ours; TensorBoard's come without one."""
    package = "mixem-sweeps" if extra == "tensorboard" else f"mixem-sweeps[{extra}]"
    return ConfigError(f"{what}: needs more packages: pip install '{package}' ({reason})")


class DataError(MixemError):
    """A dataset is absent, damaged or does not fit the configuration."""


class CheckpointError(MixemError):
    """Saved weights are absent, damaged, or do not fit the model."""


class DivergenceError(MixemError):
    """A loss term became NaN or infinite; names the term and the epoch."""


class OutOfMemoryError(MixemError):
    """A training step does not fit into the GPU's memory; says which settings make it smaller."""


class DeterminismError(MixemError):
    """An operation cannot repeat itself bit for bit, as `runtime.deterministic` asks; names the operation."""
