"""The run folder read into one table, one row per trial."""

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any, Literal

import pandas as pd

from analysis.records import AnyRecord, BaseRecord, FailedRecord, RunSpec, StoppedRecord, TrialRecord
from mixem.config import Config
from mixem.errors import ConfigError, MixemError
from mixem.files import each, read_text, run_path, write_bytes
from mixem.settings import (
    base_hash,
    config_hash,
    load_config,
    override,
    parse_assignment,
    read_yaml,
    set_key,
    validate,
)

TERMS = ("contrastive", "component_entropy", "instance", "push", "pull")
"""The raw loss terms of the paper's section 3, summed over the two views."""
METHODS = (
    ("scores.mixem", "MIX'EM", "K-means started at the mixture components"),
    ("scores.argmax", "MIX'EM", "largest mixing coefficient (argmax)"),
    ("scores.kmeans", "MIX'EM", "K-means with random starts"),
    ("baseline.simclr_kmeans", "Baseline", "SimCLR + K-means, same base encoder"),
    ("baseline.pixel_kmeans", "Baseline", "K-means on pixels"),
)
"""The columns of the clusterings that are scored, and what they are, in the order they are shown."""
BESIDE = (
    ("baseline.starts", "Baseline", "SimCLR + K-means, mean over single random starts"),
    ("baseline.linear", "Uses labels", "Linear probe on the base encoder's features"),
    ("baseline.knn", "Uses labels", "20 nearest neighbours, cosine, on the base encoder's features"),
)
"""Columns of what is shown beside them where it is known."""
CLUSTERINGS = ("mixem", "argmax", "kmeans")
BASELINES = ("simclr_kmeans", "pixel_kmeans", "starts", "linear", "knn")
METRICS = ("acc", "nmi", "ari", "clusters_used", "size_entropy")

CHANGEABLE = ("criterion", "reference")
"""What can be chosen anew for a run whose trials are finished."""
MOST_POINTS = 4096
"""Grids of at most this many points are searched for the configuration of a trial that has not written it."""


def load_spec(run: Path | str, overrides: Iterable[str] = ()) -> RunSpec:
    """The run's spec.yaml; without one, a spec of all its trial folders. Raises ConfigError for no run folder.

    `overrides`: `key=value` for the criterion and the reference weights.
    """
    run, overrides = run_path(run), list(overrides)
    for assignment in overrides:
        if parse_assignment(assignment)[0].partition(".")[0] not in CHANGEABLE:
            raise ConfigError(f"--set {assignment}: not allowed here; of a run, {' and '.join(CHANGEABLE)} can be set")
    if (run / "spec.yaml").exists():
        values = read_yaml(run / "spec.yaml")
        return validate(RunSpec, override(values, overrides) if overrides else values, f"{run / 'spec.yaml'}")
    if not (run / "trials").is_dir():
        raise ConfigError(f"{run}: not a run folder; it has neither spec.yaml nor trials/")
    trials = sorted(folder.name for folder in (run / "trials").iterdir() if folder.is_dir())
    values = {"name": run.resolve().name, "dataset": "unknown", "trials": trials}
    return validate(RunSpec, override(values, overrides), f"{run}")


def load_results(run: Path | str) -> pd.DataFrame:
    """One row per trial of the run, in plan order, with flat dotted columns.

    `status` is finished, failed, stopped, pending or damaged; `reason` says why, but for finished and pending. Trials
    with the same `configuration` are equal in everything but the seed. Raises ConfigError for no run folder.
    """
    run = run_path(run)
    spec = load_spec(run)
    trials = each(run, lambda trial: _read_trial(run, trial), dict.fromkeys(spec.trials))
    planned = _planned(spec, trials)
    bases: dict[str, dict[str, Any]] = {}
    rows = [_row(run, trial, trial.config or planned.get(trial.name), bases) for trial in trials]
    extra = sorted({key for row in rows for key in row} - set(COLUMNS))
    table = pd.DataFrame(rows, columns=[*COLUMNS, *extra])
    return table.astype(dict.fromkeys(("epochs", "seconds", *MEASURED), float)).copy()  # in one piece again


def write_tables(run: Path | str, results: pd.DataFrame | None = None) -> tuple[Path, Path]:
    """Write results.csv and results.parquet into the run folder; reads it where no table is given.

    Raises ConfigError for no run folder.
    """
    table, run = load_results(run) if results is None else results, run_path(run)
    text = table.map(lambda value: "; ".join(map(str, value)) if isinstance(value, tuple) else value)
    csv = write_bytes(run / "results.csv", text.to_csv(index=False).encode())
    return csv, write_bytes(run / "results.parquet", table.to_parquet(None, engine="pyarrow", index=False))


def trained_on(results: pd.DataFrame) -> str:
    """The splits that the finished trials' stage 2 was trained on, and whether either stage saw the scored images.

    Such as `train (inductive)` or `train+test (transductive)`; `unknown` where nothing is finished.
    """
    finished = results[results["status"] == "finished"]
    if "provenance.data" not in finished:
        return "unknown"
    found = {
        f"{split} ({'transductive' if any('transductive' in line for line in lines or ()) else 'inductive'})"
        for split, lines in finished[["train.split", "provenance.data"]].itertuples(index=False)
    }
    return " or ".join(sorted(found)) or "unknown"


@dataclass(frozen=True)
class _Trial:
    name: str
    status: Literal["finished", "failed", "stopped", "pending", "damaged"]
    config: Config | None = None
    record: TrialRecord | None = None
    reason: str | None = None


def _read_trial(run: Path, name: str) -> _Trial:
    folder = run / "trials" / name
    config = None
    try:
        if (folder / "config.yaml").exists():
            config = load_config(folder / "config.yaml")
        if (folder / "result.json").exists():
            record = _read_record(TrialRecord, folder / "result.json", name)
            if config is None:
                raise ConfigError("config.yaml: missing")
            return _Trial(name, "finished", config, record)
        if (folder / "failed.json").exists():
            failed = _read_record(FailedRecord, folder / "failed.json", name)
            epoch = "" if failed.epoch is None else f" (epoch {failed.epoch})"
            return _Trial(name, "failed", config, reason=one_line(failed.reason) + epoch)
        if (folder / "stopped.json").exists():
            stopped = _read_record(StoppedRecord, folder / "stopped.json", name)
            return _Trial(name, "stopped", config, reason=one_line(stopped.reason))
    except MixemError as error:
        return _Trial(name, "damaged", config, reason=one_line(str(error).replace(f"{folder}/", "")))
    return _Trial(name, "pending", config)


def _read_record(model: type[AnyRecord], path: Path, name: str) -> AnyRecord:
    """A record of the trial or base encoder `name`; raises ConfigError where it cannot be used."""
    try:
        values = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path.name}: cannot be read ({error})") from None
    record = validate(model, values, path.name)
    owner = getattr(record, "trial", None) or getattr(record, "base", None)
    if owner != name:
        raise ConfigError(f"{path.name}: belongs to {owner}, not to {name}")
    return record


def _planned(spec: RunSpec, trials: list[_Trial]) -> dict[str, Config]:
    """Configurations of trials that have not written theirs, found in the grid by their hashes."""
    sample = next((trial.config for trial in trials if trial.config), None)
    axes = [values for values in spec.axes.values() if isinstance(values, list)]
    wanted = {trial.name for trial in trials if trial.config is None}
    if not sample or not wanted or len(axes) < len(spec.axes) or math.prod(map(len, axes)) > MOST_POINTS:
        return {}
    found = {}
    for point in itertools.product(*axes):
        values = sample.model_dump(mode="json")
        for key, value in zip(spec.axes, point, strict=True):
            values = set_key(values, key, value)
        try:
            config = validate(Config, values)
        except ConfigError:
            continue
        found[config_hash(config)] = config
    return {name: found[name] for name in wanted & found.keys()}


def _row(run: Path, trial: _Trial, config: Config | None, bases: dict[str, dict[str, Any]]) -> dict[str, Any]:
    row: dict[str, Any] = {"trial": trial.name, "status": trial.status, "reason": trial.reason}
    if config:
        row |= _flatten(config.model_dump())
        row["configuration"] = config_hash(config.model_copy(update={"seed": 0}))
        row["base"] = base_hash(config)
    if trial.record:
        row |= _flatten(trial.record.model_dump(exclude={"trial"}))
    if base := row.get("base"):
        if base not in bases:
            bases[base] = _baselines(run, base)
        row |= bases[base]
    return row


def _baselines(run: Path, base: str) -> dict[str, Any]:
    path = run / "base" / base / "result.json"
    if not path.exists():
        return {}
    try:
        record = _read_record(BaseRecord, path, base)
    except ConfigError as error:
        return {"baseline.reason": one_line(error)}
    found = _flatten({"baseline": record.model_dump()["scores"]})
    found |= {f"baseline.{name}.acc": accuracy for name, accuracy in record.supervised.items()}
    for metric, values in record.restarts.items():
        found |= {f"baseline.starts.{metric}": fmean(values), f"baseline.starts.{metric}_std": pstdev(values)}
        found["baseline.starts.n"] = len(values)
    return found


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flatten(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def one_line(text: object) -> str:
    """`text` on one line of printable characters, at most 300 of them."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= 300 else line[:299] + "…"


CONFIG_COLUMNS = tuple(_flatten(Config.model_validate({"data": {"name": "synthetic"}}).model_dump()))
MEASURED = (
    *(f"validation.{term}" for term in TERMS),
    *(f"scores.{way}.{metric}" for way in CLUSTERINGS for metric in METRICS),
    *(f"baseline.{way}.{metric}" for way in BASELINES for metric in METRICS),
)
COLUMNS = (
    *("trial", "configuration", "base", "status", "reason", "epochs", "seconds", "warnings"),
    *CONFIG_COLUMNS,
    *MEASURED,
)
"""Columns that are always there; further terms and the provenance follow them."""
