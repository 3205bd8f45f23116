"""Files in, files out: reads a run folder; makes tables, the choice, pictures and the report of it.

    from analysis import load_results
    results = load_results("runs/stl10")          # pandas.DataFrame, one row per trial

Knows neither torch nor ray: a run can be analysed on a machine that has none of them.
"""

from analysis.results import load_results

__all__ = ["load_results"]
