"""The run's report: results.csv, results.parquet and report/index.html, which needs nothing but a browser."""

import math
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis.audit import DESCRIPTIONS, audit, seed_agreement, write_audit
from analysis.claims import claims
from analysis.effect_plots import NAMES
from analysis.figures import write_pictures
from analysis.records import RunSpec
from analysis.results import BESIDE, METHODS, load_results, load_spec, trained_on, write_tables
from analysis.selection import (
    LAMBDAS,
    Selection,
    Spread,
    criterion_values,
    not_comparable,
    select,
    spread,
    varying,
)
from mixem.config import Criterion, LossWeights
from mixem.errors import MixemError
from mixem.files import is_local, run_path, write_bytes


def write_report(run: Path | str, overrides: Iterable[str] = (), results: pd.DataFrame | None = None) -> Path:
    """Write the tables, the pictures and report/index.html; gives the path of the latter.

    An unfinished run is reported as far as it got. `overrides`: as `load_spec`; `results`: the run's table, where it is
    at hand. Raises ConfigError for no run folder.
    """
    run = run_path(run)
    spec, results = load_spec(run, overrides), load_results(run) if results is None else results
    write_tables(run, results)
    try:
        selection, none_yet = select(results, spec.criterion, spec.reference), ""
    except MixemError as error:
        selection, none_yet = None, f"{error}."
    audits = audit(results, spec.reference, seed_agreement(run, results))
    write_audit(run, audits, trained_on(results))
    environment = Environment(
        loader=PackageLoader("analysis"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, number=number, plain=plain, label=lambda key: NAMES.get(key, key))
    page = environment.get_template("report.html.j2").render(
        **_summary(spec, results),
        **_pick(results, selection),
        none_yet=none_yet,
        formula=formula(spec.criterion, spec.reference),
        pictures=write_pictures(run, spec, results, selection, audits),
        audits=audits,
        described=DESCRIPTIONS,
        claims=claims(results, spec.criterion, spec.reference),
        columns=_grid(results),
        trials=list(_trials(spec, results, selection)),
        provenance=_provenance(results),
        folder=shlex.quote(run.name if is_local(run) and run.is_absolute() else str(run)),
    )
    return write_bytes(run / "report" / "index.html", page.encode())


def formula(criterion: Criterion, reference: LossWeights) -> str:
    """The criterion in words."""
    weighted = "contrastive + {} · component entropy + {} · instance + {} · push + {} · pull"
    if criterion == "contrastive":
        return "contrastive loss (NT-Xent) alone"
    if criterion == "own":
        return weighted.format("λ1", "λ2", "λ3", "λ4") + ", each trial with its own weights"
    return weighted.format(*(f"{weight:g}" for weight in reference.model_dump().values()))


def percent(share: Spread | float, decimals: int = 1) -> str:
    """A share in percent, with its deviation over the seeds where there is one."""
    return number(
        Spread(100 * share.mean, 100 * share.std, share.n) if isinstance(share, Spread) else 100 * share,
        decimals,
    )


def number(value: Spread | float, decimals: int = 3) -> str:
    """A number with a true minus sign; a dash where there is none."""
    if isinstance(value, Spread):
        deviation = f"\u00a0±\u00a0{value.std:.{decimals}f}" if math.isfinite(value.std) else ""
        return number(value.mean, decimals) + deviation
    return "–" if pd.isna(value) else f"{value:.{decimals}f}".replace("-", "−")


def plain(value: Any) -> str:
    """A setting as one would write it; a dash where it is unknown or none."""
    if value is None or value != value:  # NaN
        return "–"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:g}"
    return str(value)


def _summary(spec: RunSpec, results: pd.DataFrame) -> dict[str, Any]:
    counts = {s: int((results["status"] == s).sum()) for s in ("finished", "failed", "stopped", "damaged", "pending")}
    known = results[results["configuration"].notna()]
    planned = _axes(spec)
    seeds = planned.pop("seed", [])
    ranges = {key: planned[key] for key, axis in spec.axes.items() if not isinstance(axis, list)}
    return {
        "spec": spec,
        "counts": counts,
        "total": len(results),
        "unfinished": counts["pending"] + spec.to_propose > 0,
        "labelled": bool(results["scores.mixem.acc"].notna().any()),
        "grid": {key: _values(known[key]) for key in _grid(results)} | ranges if len(known) else planned,
        "configurations": known["configuration"].nunique(),
        "seeds": _values(known["seed"]) or seeds,
        "splits": {stage: _values(known[f"{stage}.split"]) for stage in ("pretrain", "train")},
        "trained_on": trained_on(results),
        "data_lines": _values(_column(results, "provenance.data").dropna().explode()),
        "hours": results["seconds"].sum() / 3600,
        "not_comparable": not_comparable(results),
        "warned": int((_column(results, "warnings").map(lambda w: isinstance(w, tuple) and len(w) > 0)).sum()),
        "base_problems": _values(_column(results, "baseline.reason").dropna()),
    }


def _axes(spec: RunSpec) -> dict[str, list[str]]:
    """The axes as planned."""
    return {
        key: list(map(plain, axis)) if isinstance(axis, list) else [f"{axis.low:g} to {axis.high:g}"]
        for key, axis in spec.axes.items()
    }


def _pick(results: pd.DataFrame, selection: Selection | None) -> dict[str, Any]:
    """The picked configuration's scores beside the baselines, and what is to be said against it."""
    if selection is None:
        return {"pick": None, "rows": [], "beside": [], "starts": None, "difference": None, "collapse": []}
    trials = results.set_index("trial").loc[list(selection.trials)]

    def rows(methods: Iterable[tuple[str, str, str]]) -> list[tuple[str, str, dict[str, Spread]]]:
        metrics = ("acc", "nmi", "ari", "clusters_used")
        return [(group, name, {m: spread(trials[f"{key}.{m}"]) for m in metrics}) for key, group, name in methods]

    difference = spread(trials["scores.mixem.acc"] - trials["baseline.simclr_kmeans.acc"])
    return {
        "pick": selection,
        "rows": rows(METHODS),
        "beside": [row for row in rows(BESIDE) if math.isfinite(row[2]["acc"].mean)],
        "starts": (trials["baseline.starts.n"].max(), trials["baseline.starts.acc_std"].mean())
        if "baseline.starts.n" in trials
        else None,
        "difference": difference if math.isfinite(difference.mean) else None,
        "collapse": list(_collapse(trials)),
    }


def _collapse(trials: pd.DataFrame) -> Iterator[str]:
    for name, row in trials.iterrows():
        warnings = row["warnings"] if isinstance(row["warnings"], tuple) else ()
        yield from (f"trial {name}: {warning}" for warning in warnings)


def _grid(results: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys((*LAMBDAS[1:], *varying(results))))


def _trials(spec: RunSpec, results: pd.DataFrame, selection: Selection | None) -> Iterator[dict[str, Any]]:
    """The trials, best criterion first, then those without one."""
    table = results.assign(criterion=criterion_values(results, spec.criterion, spec.reference))
    order = {"finished": 0, "failed": 1, "damaged": 2, "stopped": 3, "pending": 4}
    table = table.assign(order=table["status"].map(order)).sort_values(["order", "criterion", "trial"])
    for row in table.to_dict("records"):
        warnings = row["warnings"] if isinstance(row["warnings"], tuple) else ()
        reason = (row["reason"],) if isinstance(row["reason"], str) else ()
        picked = selection is not None and row["trial"] in selection.trials
        yield {"row": row, "picked": picked, "notes": "; ".join(map(str, (*reason, *warnings)))}


def _provenance(results: pd.DataFrame) -> list[tuple[str, list[str]]]:
    keys = [str(key) for key in results if str(key).startswith("provenance.") and key != "provenance.data"]
    found = [(key.removeprefix("provenance."), _values(results[key].dropna())) for key in keys]
    return [(key.replace("_", " "), values) for key, values in found if values]


def _column(results: pd.DataFrame, key: str) -> "pd.Series[Any]":
    return results[key] if key in results else pd.Series(index=results.index, dtype=object)


def _values(column: "pd.Series[Any]") -> list[str]:
    """A column's distinct values as text, numbers in order, text in order of appearance."""
    distinct = list(dict.fromkeys(column.tolist()))
    if all(isinstance(value, int | float) for value in distinct):
        distinct.sort()
    return [plain(value) for value in distinct]
