"""MLflow: an experiment for a sweep, a run for each trial, found again by its hash."""

import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.followers.follow import Stage

PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that is away costs seconds; the next look tries again."""
MAX_BATCH = 900
"""Metrics of a request; servers take 1,000."""


class MLflow:
    """Talks to a tracking server, or to a database such as sqlite:///mlflow.db."""

    def __init__(self, place: str | None = None) -> None:
        """`place`: the tracking URI. If None, MLflow's own: MLFLOW_TRACKING_URI, or a file here."""
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)
        import mlflow

        self.client = mlflow.MlflowClient(place)
        self.place = place or mlflow.get_tracking_uri()
        self._runs: dict[str, str] = {}

    def epochs(self, stage: Stage, rows: Mapping[int, Mapping[str, float]]) -> None:
        """A metric for each column."""
        self._log(stage, [(name, value, epoch) for epoch, row in rows.items() for name, value in row.items()])

    def result(self, stage: Stage, metrics: Mapping[str, float], is_finished: bool) -> None:
        """The result, and that the run has ended."""
        self._log(stage, [(name, value, 0) for name, value in metrics.items()])
        self.client.set_terminated(self._run(stage), "FINISHED" if is_finished else "FAILED")

    def picture(self, stage: Stage, name: str, png: bytes) -> None:
        """An artifact."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"{name}.png"
            file.write_bytes(png)
            self.client.log_artifact(self._run(stage), str(file))

    def close(self, stage: Stage) -> None:
        """Nothing: each call sends all of it."""

    def _log(self, stage: Stage, values: list[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        run, now = self._run(stage), int(1000 * time.time())
        metrics = [Metric(name, value, now, step) for name, value, step in values]
        for begin in range(0, len(metrics), MAX_BATCH):
            self.client.log_batch(run, metrics=metrics[begin : begin + MAX_BATCH])

    def _run(self, stage: Stage) -> str:
        """The run of a stage: the one that has its hash, or a new one with its settings."""
        if stage.hash not in self._runs:
            experiment = self._experiment(stage.sweep)
            there = self.client.search_runs([experiment], f"tags.`mixem.hash` = '{stage.hash}'", max_results=1)
            self._runs[stage.hash] = there[0].info.run_id if there else self._new_run(experiment, stage)
        return self._runs[stage.hash]

    def _experiment(self, name: str) -> str:
        known: Any = self.client.get_experiment_by_name(name)
        return str(known.experiment_id if known else self.client.create_experiment(name))

    def _new_run(self, experiment: str, stage: Stage) -> str:
        from mlflow.entities import Param

        tags = {"mixem.hash": stage.hash, "mixem.kind": stage.kind}
        run = self.client.create_run(experiment, tags=tags, run_name=stage.hash).info.run_id
        self.client.log_batch(run, params=[Param(key, str(value)) for key, value in stage.settings.items()])
        return str(run)
