"""What stands between Tune and a search: Tune asks for trials, and says how they ended."""

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher

from sweeps.search import Outcome, Search


class Proposals(Searcher):
    """A Tune searcher over a Search; `job` gives the job of a trial by its hash."""

    def __init__(self, search: Search, job: Callable[[str], dict[str, Any]]) -> None:
        super().__init__()
        self.search, self.job = search, job
        self.names: dict[str, str] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles its searchers; the study keeps itself."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str:
        """The next job, or FINISHED."""
        name = self.search.next()
        if name is None:
            return str(self.FINISHED)
        self.names[trial_id] = name
        return {"job": self.job(name)}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A job has ended: finished, stopped by the scheduler, or failed."""
        name = self.names[trial_id]
        if error or not result or result["status"] == "failed":
            self.search.ended(name, Outcome("failed"))
        elif "criterion" not in result:  # another driver had finished it
            self.search.ended(name, None)
        else:
            whole = result["status"] == "finished"
            ended = Outcome("finished" if whole else "stopped", result["criterion"], result["epoch"])
            self.search.ended(name, ended)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study keeps itself."""
