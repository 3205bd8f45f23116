"""The best configuration and its weights, ready to use elsewhere: best.yaml and best.safetensors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.findings import Findings
from analysis.results import CLUSTERINGS, one_line
from analysis.wording import decided
from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError, MixemError
from mixem.files import write_bytes, write_text
from mixem.run import BaseFolder, Run, Status, TrialFolder
from mixem.settings import dump_config, set_key, validate

MAX_LISTED = 30
"""At most this many trials are named in the error for an unknown one."""


@dataclass(frozen=True)
class ExportedPaths:
    """The two files written."""

    config: Path
    weights: Path


def write_best(findings: Findings) -> ExportedPaths:
    """Write best.yaml and best.safetensors of the selection into the run folder. Raises as `export`."""
    return export(findings, findings.run.path)


def export(findings: Findings, out: Path | str, trial: str | None = None) -> ExportedPaths:
    """Write the selected trial's configuration and weights, or those of `trial` (a unique prefix will do), to a folder.

    best.yaml reads back equal to the trial's configuration but for `runtime.precision`, which is the one that
    was used; where both came from stands in its comments. Raises ConfigError for an unknown, ambiguous or unfinished
    trial, MixemError when nothing can be picked yet, CheckpointError for weights that are absent or not those of the
    trial's record.
    """
    hash = _picked(findings) if trial is None else _find(list(findings.results["trial"]), trial)
    row = _row(findings.results, hash)
    if row["status"] != Status.FINISHED:
        reason = f" ({row['reason']})" if pd.notna(row["reason"]) else ""
        raise ConfigError(f"trial {hash} is {row['status']}{reason}: only a finished trial can be exported")
    folder = findings.run.trial(hash)
    weights = _weights(folder, f"trial {hash}")
    config = _as_run(folder.config(), row.get("provenance.precision"))
    return _write(ExportedPaths(*Run.at(out).best_files), weights, config, _comments(findings, row, trial is None))


def export_baseline(findings: Findings, out: Path | str) -> ExportedPaths:
    """Write the base encoder that the selected trial started from, for SimCLR + K-means, to a folder.

    Its files are baseline.yaml and baseline.safetensors. Raises as `export`.
    """
    row = _row(findings.results, _picked(findings))
    folder = findings.run.base(str(row["base"]))
    weights = _weights(folder, f"base encoder {folder.hash}")
    comments = (
        f"SimCLR + K-means on {row['data.name']}, run {findings.spec.name}: base encoder {folder.hash}",
        f"seed {int(row['seed'])}, that of the picked trial {row['trial']}",
        f"test scores: {_metrics(row, 'baseline.simclr_kmeans')}",
    )
    return _write(ExportedPaths(*Run.at(out).baseline_files), weights, folder.config(), comments)


def _write(paths: ExportedPaths, weights: bytes, config: Config, comments: Iterable[str]) -> ExportedPaths:
    try:
        write_bytes(paths.weights, weights)
        write_text(paths.config, "".join(f"# {one_line(line)}\n" for line in comments) + dump_config(config))
    except OSError as error:
        raise ConfigError(f"{paths.config.parent}: cannot be written to ({error.strerror})") from None
    return paths


def _picked(findings: Findings) -> str:
    """The hash of the trial to export."""
    if findings.selection is None:
        raise MixemError(findings.why_none)
    return findings.selection.representative


def _row(results: pd.DataFrame, hash: str) -> dict[str, Any]:
    row = results[results["trial"] == hash].to_dict("records")[0]
    return {str(key): value for key, value in row.items()}


def _weights(folder: TrialFolder | BaseFolder, name: str) -> bytes:
    try:
        return folder.weights()
    except CheckpointError as error:
        raise CheckpointError(
            f"{error}; {name} is finished, and `mixem sweep FILE --retrain {folder.hash}` makes it anew"
        ) from None


def _find(hashes: list[str], prefix: str) -> str:
    """The hash of the one trial that begins with a prefix."""
    fitting = [hash for hash in hashes if hash.startswith(prefix)] if prefix not in hashes else [prefix]
    if len(fitting) == 1:
        return fitting[0]
    listed = fitting or hashes
    rest = f" and {len(listed) - MAX_LISTED} more" if len(listed) > MAX_LISTED else ""
    problem = f"{prefix!r} fits several trials" if fitting else f"no trial {prefix!r} in this run; it has"
    raise ConfigError(one_line(f"{problem}: {', '.join(listed[:MAX_LISTED])}") + rest)


def _as_run(config: Config, precision: object) -> Config:
    """The configuration with the precision that `auto` came to."""
    if not isinstance(precision, str):
        return config
    return validate(Config, set_key(config.model_dump(mode="json"), "runtime.precision", precision))


def _comments(findings: Findings, row: dict[str, Any], picked: bool) -> Iterator[str]:
    """Where the configuration and the weights come from, a line each."""
    results, spec = findings.results, findings.spec
    seeds = sorted(results.loc[results["configuration"] == row["configuration"], "seed"])
    value = float(findings.losses[spec.criterion][row["trial"]])
    weights = f" ({spec.reference})" if spec.criterion == "reference" else ""
    finished = findings.counts[Status.FINISHED]
    yield f"MIX'EM on {row['data.name']}, run {spec.name}: {finished} of {len(results)} trials finished"
    if picked and findings.selection:
        pick = findings.selection
        yield f"picked by criterion {spec.criterion}{weights}: mean {pick.mean:.6g}, n = {pick.n}"
        if reason := decided(findings):
            yield reason
        lowest = f", the lowest of seeds {_joined(seeds)}" if len(seeds) > 1 else ""
        yield f"seed {int(row['seed'])}{lowest}: {value:.6g}"
    else:
        yield f"asked for by its hash, not picked; criterion {spec.criterion}{weights}: {value:.6g}"
        yield f"seed {int(row['seed'])} of seeds {_joined(seeds)}"
    yield f"trial {row['trial']}, base encoder {row['base']}"
    yield from _scores(row)
    for key in sorted(key for key in row if key.startswith("provenance.")):
        lines = row[key] if isinstance(row[key], tuple) else [row[key]]
        yield from (f"{key.removeprefix('provenance.')}: {line}" for line in lines if pd.notna(line))


def _scores(row: dict[str, Any]) -> Iterator[str]:
    for way in CLUSTERINGS:
        yield f"test scores, {way}: {_metrics(row, f'scores.{way}')}"


def _metrics(row: dict[str, Any], clustering: str) -> str:
    scores = {metric: row.get(f"{clustering}.{metric}") for metric in ("acc", "nmi", "ari")}
    return ", ".join(f"{metric} {score:.4f}" for metric, score in scores.items() if pd.notna(score)) or "no labels"


def _joined(seeds: list[Any]) -> str:
    return ", ".join(str(int(seed)) for seed in seeds)
