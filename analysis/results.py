"""The run folder read into one table, one row per trial."""

import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from statistics import fmean, pstdev
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError
from mixem.files import each, read_bytes, write_bytes
from mixem.parsing import merge
from mixem.records import BaseRecord, Provenance, RunSpec, TrialRecord
from mixem.run import BaseFolder, ReportPlace, Run, StageState, Status
from mixem.settings import (
    base_hash,
    config_hash,
    configuration_hash,
    override,
    parse_assignment,
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
CONTEXT_METHODS = (
    ("baseline.starts", "Baseline", "SimCLR + K-means, mean over single random starts"),
    ("baseline.linear", "Uses labels", "Linear probe on the base encoder's features"),
    ("baseline.knn", "Uses labels", "20 nearest neighbours, cosine, on the base encoder's features"),
)
"""Columns of what is shown beside them where it was measured."""
CLUSTERINGS = ("mixem", "argmax", "kmeans")
BASELINES = ("simclr_kmeans", "pixel_kmeans", "starts", "linear", "knn")
METRICS = ("acc", "nmi", "ari", "clusters_used", "size_entropy")

CHANGEABLE = ("criterion", "reference", "ties")
"""What can be chosen anew for a run whose trials are finished."""
MAX_SEARCHED_POINTS = 4096
"""Grids of at most this many points are searched for the configuration of a trial that has not written it."""
MAX_LINE = 300
"""Characters of a line of text from a run folder that are shown."""


def changed_spec(run: Run, overrides: Iterable[str] = ()) -> RunSpec:
    """What the run set out to do, with `key=value` changes of the criterion and the reference weights.

    Raises ConfigError for no run folder, a damaged spec.yaml, and changes of anything else.
    """
    overrides = list(overrides)
    for assignment in overrides:
        if parse_assignment(assignment)[0].partition(".")[0] not in CHANGEABLE:
            raise ConfigError(f"--set {assignment}: not allowed here; of a run, {', '.join(CHANGEABLE)} can be set")
    spec = run.spec()
    if not overrides:
        return spec
    return validate(RunSpec, override(spec.model_dump(), overrides), "--set")


def load_results(place: "Path | str | Run") -> pd.DataFrame:
    """Read a run folder into a table, one row per trial in the order of the plan, with flat dotted columns.

    A setting that is null is None there, and NaN where a trial has not written its configuration. `status` is a
    `mixem.run.Status`; `reason` says why a trial failed, was stopped, or counts as damaged. Trials with
    the same `configuration` are equal in everything but the seed. Raises ConfigError for no run folder.
    """
    run = Run.at(place)
    return results_of(run, run.spec())


def results_of(run: Run, spec: RunSpec) -> pd.DataFrame:
    """Read the trials of a spec into the table of `load_results`."""
    states = list(run.snapshot(spec.trials).trials.values())
    configs = {state.hash: state.config for state in states if state.config} | _planned(spec, states)
    bases = sorted({base_hash(config) for config in configs.values()} | {s.record.base for s in states if s.record})
    baselines = dict(zip(bases, each(run.path, lambda base: _baselines(run.base(base)), bases), strict=True))
    rows = [_row(state, configs.get(state.hash), baselines) for state in states]
    table = pd.json_normalize(rows)
    extra = sorted(set(map(str, table)) - set(COLUMNS))
    table = table.reindex(columns=[*COLUMNS, *extra])
    table = table.astype(dict.fromkeys(("epochs", "seconds", *MEASURED), float))
    return table.assign(**_nullable(table, configs)).copy()  # in one piece again


def write_tables(place: Run | ReportPlace, results: pd.DataFrame) -> tuple[Path, Path]:
    """Write results.csv and results.parquet into the run folder, or beside a what-if; returns their paths."""
    lists = [str(key) for key in results if any(isinstance(value, tuple) for value in results[key])]
    text = results.assign(**{key: results[key].map(_as_text) for key in lists})
    csv, parquet = place.table_files
    write_bytes(csv, text.to_csv(index=False).encode())
    write_bytes(parquet, results.to_parquet(None, engine="pyarrow", index=False))
    return csv, parquet


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of a Parquet file of a run folder. Raises CheckpointError where it is absent, damaged or lacks one."""
    try:
        return pd.read_parquet(io.BytesIO(read_bytes(path)), columns=list(columns), engine="pyarrow")
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such file; unfinished, or made by an earlier version") from None
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(f"{path}: damaged ({one_line(error)})") from None


def _as_text(value: object) -> object:
    """A cell of several values as one text."""
    return "; ".join(map(str, value)) if isinstance(value, tuple) else value


def trained_on(results: pd.DataFrame) -> str:
    """The splits that the finished trials' stage 2 was trained on, and whether either stage saw the scored images.

    Such as `train (inductive)` or `train+test (transductive)`; `unknown` where nothing is finished.
    """
    finished = results[results["status"] == Status.FINISHED]
    if "provenance.data" not in finished:
        return "unknown"
    splits = {
        f"{split} ({'transductive' if any('transductive' in line for line in lines or ()) else 'inductive'})"
        for split, lines in finished[["train.split", "provenance.data"]].itertuples(index=False)
    }
    return " or ".join(sorted(splits)) or "unknown"


def _planned(spec: RunSpec, states: Sequence[StageState[TrialRecord]]) -> dict[str, Config]:
    """Configurations of trials that have not written theirs, looked up in the grid by their hashes."""
    sample = next((state.config for state in states if state.config), None)
    axes = [values for values in spec.axes.values() if isinstance(values, list)]
    unwritten = {state.hash for state in states if state.config is None}
    if not sample or not unwritten or len(axes) < len(spec.axes) or math.prod(map(len, axes)) > MAX_SEARCHED_POINTS:
        return {}
    configs = {}
    for point in itertools.product(*axes):
        values = sample.model_dump(mode="json")
        for key, value in zip(spec.axes, point, strict=True):
            values = set_key(values, key, value)
        try:
            config = validate(Config, values)
        except ConfigError:
            continue
        configs[config_hash(config)] = config
    return {hash: configs[hash] for hash in unwritten & configs.keys()}


def _row(state: StageState[TrialRecord], config: Config | None, baselines: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The nested values of a trial's row."""
    reason = one_line(state.reason) if state.reason else None
    row: dict[str, Any] = {"trial": state.hash, "status": state.status.value, "reason": reason}
    if config:
        row |= config.model_dump()
        row["configuration"] = configuration_hash(config)
        row["base"] = base_hash(config)
    if state.record:
        hidden = {"trial", "status", "provenance", "weights_sha256"}
        hidden |= set() if state.record.cost else {"cost"}
        row = merge(row, state.record.model_dump(exclude=hidden))
        row["provenance"] = _provenance(state.record.provenance)
    row = row | baselines.get(row.get("base", ""), {})
    return {key: _as_unicode(value) for key, value in row.items()}


def _as_unicode(value: Any) -> Any:
    """The value, with what is no character of its texts escaped: a path may hold some, and tables cannot."""
    if isinstance(value, dict):
        return {key: _as_unicode(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(map(_as_unicode, value))
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _nullable(table: pd.DataFrame, configs: Mapping[str, Config]) -> dict[str, "pd.Series[Any]"]:
    """The columns of settings that are null in some configuration, as they are written: pandas makes NaN of null."""
    written = table["trial"].isin(list(configs))
    keys = [key for key in CONFIG_COLUMNS if table.loc[written, key].isna().any()]
    return {key: _column_of(key, table, configs) for key in keys}


def _column_of(key: str, table: pd.DataFrame, configs: Mapping[str, Config]) -> "pd.Series[Any]":
    setting = attrgetter(key)
    values = [_as_unicode(setting(configs[hash])) if hash in configs else math.nan for hash in table["trial"]]
    return pd.Series(values, index=table.index, dtype=object)


def _provenance(provenance: Provenance) -> dict[str, Any]:
    """The lines on the data, and all else as text; a checksum that an old record lacks is absent."""
    values = provenance.model_dump(exclude={"data"})
    text = {key: None if value is None else str(value) for key, value in values.items() if value != ""}
    return {"data": provenance.data, **text}


def _baselines(folder: BaseFolder) -> dict[str, Any]:
    """The nested values that every trial of a base encoder shares; empty where it is not finished."""
    state = folder.read()
    if state.status == Status.DAMAGED:
        return {"baseline": {"reason": one_line(state.reason)}}
    if state.record is None:
        return {}
    record: BaseRecord = state.record
    baseline: dict[str, Any] = record.model_dump()["scores"]
    baseline |= {name: {"acc": accuracy} for name, accuracy in record.supervised.items()}
    starts: dict[str, float] = {}
    for metric, values in record.restarts.items():
        starts |= {metric: fmean(values), f"{metric}_std": pstdev(values), "n": len(values)}
    return {"baseline": baseline | ({"starts": starts} if starts else {})}


def one_line(text: object) -> str:
    """`text` on one line of printable characters, at most `MAX_LINE` of them."""
    line = " ".join(str(text).split())
    line = "".join(character if character.isprintable() else "?" for character in line)
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…"


Metrics = Mapping[str, NDArray[np.float64]]
"""The columns of a metrics.csv, each (epochs,); NaN where an epoch did not measure them."""


def metrics_by_column(rows: Sequence[Mapping[str, str]]) -> Metrics:
    """The rows of a metrics.csv as columns of numbers."""
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: np.array([float(row.get(key) or math.nan) for row in rows]) for key in keys}


def comparable(value: Any) -> Any:
    """A setting in the one form it has in every table: columns with gaps hold NaN, and integers as floats."""
    if value is None or value != value:
        return None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _config_columns() -> tuple[str, ...]:
    """The settings in the order of the configuration."""
    config = Config.model_validate({"data": {"name": "synthetic"}})
    columns = pd.json_normalize({"config": config.model_dump()}).columns
    return tuple(str(column).removeprefix("config.") for column in columns)


CONFIG_COLUMNS = _config_columns()
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
