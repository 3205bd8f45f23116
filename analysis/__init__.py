"""Files in, files out: reads a run folder; makes tables, the choice, pictures and the report of it.

    from analysis import load_results, load_run
    results = load_results("runs/stl10")          # pandas.DataFrame, one row per trial
    findings = load_run("runs/stl10")             # Findings: the choice, the audit, the claims

Knows neither torch nor ray: a run can be analysed on a machine that has none of them.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from analysis.findings import Findings

__all__ = ["load_results", "load_run"]


def load_run(path: Path | str) -> "Findings":
    """Read a run folder, choose and judge. Raises ConfigError for no run folder."""
    from analysis.findings import Findings

    return Findings.of(path)


def load_results(path: Path | str) -> "pd.DataFrame":
    """Read a run folder into a table, one row per trial. Raises ConfigError for no run folder."""
    from analysis.results import load_results

    return load_results(path)
