"""The best configuration and its weights, ready to use elsewhere: best.yaml and best.safetensors."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from analysis.findings import Findings
from analysis.results import CLUSTERINGS, one_line
from analysis.wording import compare_with_care, decided, difference, start
from mixem.config import Config
from mixem.errors import CheckpointError, ConfigError
from mixem.files import write_bytes, write_text
from mixem.run import BaseFolder, Run, Status, TrialFolder, full_hash
from mixem.settings import dump_config, set_key, validate


@dataclass(frozen=True)
class ExportedPaths:
    """The two files written."""

    config: Path
    weights: Path


class ChosenTrial(NamedTuple):
    """The trial to export."""

    folder: TrialFolder
    config: str
    """What best.yaml holds: its configuration and, in comments, where that and the weights come from."""


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
    chosen = choose(findings, trial)
    weights = _weights(chosen.folder, f"trial {chosen.folder.hash}")
    return _write(ExportedPaths(*Run.at(out).best_files), weights, chosen.config)


def choose(findings: Findings, trial: str | None = None) -> ChosenTrial:
    """The selected trial, or `trial` (a unique prefix will do). Raises as `export`, but for the weights."""
    trials = list(findings.results["trial"])
    hash = _picked(findings) if trial is None else full_hash(trial, trials, "--trial", "trials")
    row = _row(findings.results, hash)
    if row["status"] != Status.FINISHED:
        reason = f" ({row['reason']})" if pd.notna(row["reason"]) else ""
        raise ConfigError(f"trial {hash} is {row['status']}{reason}: only a finished trial can be exported")
    folder = findings.run.trial(hash)
    config = _as_run(folder.config(), row.get("provenance.precision"))
    return ChosenTrial(folder, _commented(config, _comments(findings, row, trial is None)))


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
        *filter(None, [start(row)]),
    )
    return _write(ExportedPaths(*Run.at(out).baseline_files), weights, _commented(folder.config(), comments))


def _commented(config: Config, comments: Iterable[str]) -> str:
    return "".join(f"# {one_line(line)}\n" for line in comments) + dump_config(config)


def _write(paths: ExportedPaths, weights: bytes, config: str) -> ExportedPaths:
    try:
        write_bytes(paths.weights, weights)
        write_text(paths.config, config)
    except OSError as error:
        raise ConfigError(f"{paths.config.parent}: cannot be written to ({error.strerror})") from None
    return paths


def _picked(findings: Findings) -> str:
    """The hash of the trial to export."""
    if findings.pick is None:
        raise findings.no_pick()
    return findings.pick.representative


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
    if picked and findings.pick:
        pick = findings.pick
        yield f"picked by criterion {spec.criterion}{weights}: mean {pick.mean:.6g}, n = {pick.n}"
        yield from filter(None, (decided(findings), compare_with_care(findings).striptags()))
        lowest = f", the lowest of seeds {_joined(seeds)}" if len(seeds) > 1 else ""
        yield f"seed {int(row['seed'])}{lowest}: {value:.6g}"
    else:
        yield f"asked for by its hash, not picked; criterion {spec.criterion}{weights}: {value:.6g}"
        yield f"seed {int(row['seed'])} of seeds {_joined(seeds)}"
    yield f"trial {row['trial']}, base encoder {row['base']}"
    yield from filter(None, [start(row)])
    yield from _scores(row)
    if picked and findings.gain:
        yield difference(findings.gain).striptags()
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
