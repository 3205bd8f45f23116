"""Optuna's storage: the study of a search in the run folder, and the trials that it has proposed.

The study is SQLite. A driver that is killed in the middle of a write leaves a journal that SQLite rolls back, where
Optuna's file of lines would be left torn; and only the driver writes, so nothing hangs on locks over NFS.
`optuna-dashboard sqlite:///RUN/study.db` shows it, also while it runs.
"""

import sqlite3
from collections.abc import Iterator

import optuna
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from mixem.config import Config
from mixem.errors import ConfigError, MixemError
from mixem.run import Run
from mixem.settings import digest
from sweeps.axes import Point
from sweeps.spec import SweepSpec

optuna.logging.set_verbosity(optuna.logging.WARNING)

REPEATS = "repeats an earlier point"
"""The user attribute of a proposal that was made before; such a one is not run, and counts for nothing."""
LOCK_SECONDS = 60
"""How long a dashboard may lock the study."""


def proposed_trials(spec: SweepSpec, run: Run) -> dict[str, Config]:
    """The trials of all points that the study in `run` holds; without one, of those that it will begin with.

    Raises ConfigError for a run folder in an object storage.
    """
    if not run.is_local:
        raise ConfigError(f"search: optuna keeps its study in a file, which {run} cannot hold; use a local run folder")
    study = load_study(spec, run) if run.study_file.exists() else None
    trials: dict[str, Config] = {}
    for frozen in proposals(study) if study else ():
        params = frozen.params or frozen.system_attrs.get("fixed_params", {})
        if params.keys() == spec.axes.keys() - {"seed"}:  # else the driver was killed while it was proposed
            trials |= trials_at(spec, params)
    return trials or spec.trials()


def load_study(spec: SweepSpec, run: Run, create: bool = False) -> optuna.Study | None:
    """The study of what the spec searches and how it judges; another in either is another study in the same file.

    If None, there is none, and none was to be created. Raises MixemError where the file cannot be opened.
    """
    try:
        # Optuna's URL is a template, and a URL: no path is put into it
        storage = optuna.storages.RDBStorage("sqlite:///study.db", engine_kwargs={"creator": lambda: _connect(run)})
        if create:
            return optuna.create_study(study_name=study_name(spec), storage=storage, load_if_exists=True)
        return optuna.load_study(study_name=study_name(spec), storage=storage)
    except KeyError:
        return None
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise MixemError(f"{run.study_file}: cannot be opened ({' '.join(str(error).split())[:200]})") from None


def _connect(run: Run) -> sqlite3.Connection:
    """A connection to the study's file, made the way SQLAlchemy does: threads take turns."""
    return sqlite3.connect(run.study_file.resolve(), timeout=LOCK_SECONDS, check_same_thread=False)


def study_name(spec: SweepSpec) -> str:
    """The sweep's name and a digest of what is searched and how it is judged."""
    searched = {"first": next(iter(spec.trials())), **spec.model_dump(mode="json", include={"axes", "search_seed"})}
    assert spec.judge is not None
    searched["judge"] = spec.judge.model_dump()
    return f"{spec.name}-{digest(searched)}"


def proposals(study: optuna.Study) -> Iterator[FrozenTrial]:
    """What the study has proposed, without repetitions."""
    return (trial for trial in study.get_trials(deepcopy=False) if REPEATS not in trial.user_attrs)


def trials_at(spec: SweepSpec, point: Point) -> dict[str, Config]:
    """The trials of a point by hash, one for each seed."""
    return spec.trials_at([{**point, "seed": seed} for seed in spec.point_seeds])
