"""The best configuration and its weights, ready to use elsewhere: best.yaml and best.safetensors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.records import RunSpec
from analysis.results import CLUSTERINGS, load_results, load_spec, one_line
from analysis.selection import Selection, criterion_values, select
from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError
from mixem.files import read_bytes, run_path, write_bytes
from mixem.settings import dump_config, load_config, set_key, validate

MOST_LISTED = 30
"""At most this many trials are named in the error for an unknown one."""


@dataclass(frozen=True)
class ExportedPaths:
    """The two files written."""

    config: Path
    weights: Path


def write_best(run: Path | str, results: pd.DataFrame | None = None) -> ExportedPaths:
    """Write best.yaml and best.safetensors of the selection into the run folder. Raises as `export_best`."""
    return export_best(run, run, results=results)


def export_best(
    run: Path | str,
    out_dir: Path | str,
    trial: str | None = None,
    overrides: Iterable[str] = (),
    results: pd.DataFrame | None = None,
) -> ExportedPaths:
    """Write the selected trial's configuration and weights, or those of `trial` (a unique prefix will do).

    best.yaml reads back equal to the trial's configuration but for `runtime.precision`, which is the one that
    was used; where both came from stands in its comments. `overrides`: as `load_spec`; `results`: the run's table,
    where it is at hand. Raises ConfigError for an unknown, ambiguous or unfinished trial, MixemError when nothing can
    be picked yet, CheckpointError for absent weights.
    """
    run, out = run_path(run), run_path(out_dir)
    spec, results = load_spec(run, overrides), load_results(run) if results is None else results
    selection = select(results, spec.criterion, spec.reference) if trial is None else None
    name = selection.representative if selection else _find(results, str(trial))
    row = _record(results, name)
    if row["status"] != "finished":
        reason = f" ({row['reason']})" if pd.notna(row["reason"]) else ""
        raise ConfigError(f"trial {name} is {row['status']}{reason}: only a finished trial can be exported")
    folder = run / "trials" / name
    try:
        weights = read_bytes(folder / "weights.safetensors")
    except OSError as error:
        raise CheckpointError(f"{folder / 'weights.safetensors'}: cannot be read ({error.strerror or error})") from None
    config = _as_run(load_config(folder / "config.yaml"), row.get("provenance.precision"))
    lines = _comments(spec, results, row, selection)
    comments = "".join(f"# {one_line(line)}\n" for line in lines)
    try:
        copied = write_bytes(out / "best.safetensors", weights)
        return ExportedPaths(write_bytes(out / "best.yaml", (comments + dump_config(config)).encode()), copied)
    except OSError as error:
        raise ConfigError(f"{out}: cannot be written to ({error.strerror})") from None


def _record(results: pd.DataFrame, name: str) -> dict[str, Any]:
    row = results[results["trial"] == name].to_dict("records")[0]
    return {str(key): value for key, value in row.items()}


def _find(results: pd.DataFrame, prefix: str) -> str:
    names = list(results["trial"])
    found = [name for name in names if name.startswith(prefix)] if prefix not in names else [prefix]
    if len(found) == 1:
        return found[0]
    listed = found or names
    more = f" and {len(listed) - MOST_LISTED} more" if len(listed) > MOST_LISTED else ""
    problem = f"{prefix!r} fits several trials" if found else f"no trial {prefix!r} in this run; it has"
    raise ConfigError(one_line(f"{problem}: {', '.join(listed[:MOST_LISTED])}") + more)


def _as_run(config: Config, precision: object) -> Config:
    """The configuration with the precision that `auto` came to."""
    if not isinstance(precision, str):
        return config
    return validate(Config, set_key(config.model_dump(mode="json"), "runtime.precision", precision))


def _comments(spec: RunSpec, results: pd.DataFrame, row: dict[str, Any], selection: Selection | None) -> Iterator[str]:
    """Where the configuration and the weights come from, a line each."""
    same = results[results["configuration"] == row["configuration"]]
    value = criterion_values(same, spec.criterion, spec.reference)[same["trial"] == row["trial"]].iloc[0]
    finished = int((results["status"] == "finished").sum())
    weights = f" ({spec.reference})" if spec.criterion == "reference" else ""
    yield f"MIX'EM on {row['data.name']}, run {spec.name}: {finished} of {len(results)} trials finished"
    if selection:
        yield f"picked by criterion {spec.criterion}{weights}: mean {selection.mean:.6g}, n = {selection.n}"
        yield f"seed {int(row['seed'])}, the lowest of seeds {_joined(same['seed'])}: {value:.6g}"
    else:
        yield f"asked for by its hash, not picked; criterion {spec.criterion}{weights}: {value:.6g}"
        yield f"seed {int(row['seed'])} of seeds {_joined(same['seed'])}"
    yield f"trial {row['trial']}, base encoder {row['base']}"
    for way in CLUSTERINGS:
        scores = {metric: row[f"scores.{way}.{metric}"] for metric in ("acc", "nmi", "ari")}
        known = ", ".join(f"{metric} {score:.4f}" for metric, score in scores.items() if pd.notna(score))
        yield f"test scores, {way}: {known or 'no labels'}"
    for key in sorted(key for key in row if key.startswith("provenance.")):
        lines = row[key] if isinstance(row[key], tuple) else [row[key]]
        yield from (f"{key.removeprefix('provenance.')}: {line}" for line in lines if pd.notna(line))


def _joined(seeds: "pd.Series[Any]") -> str:
    return ", ".join(str(int(seed)) for seed in sorted(seeds))
