"""A rule of your own beside the shipped ones, on runs with labels: python examples/own_criterion.py RUN...

It adds the ranks by the contrastive loss and by the agreement between seeds, and takes the lowest sum.
"""

import sys

from scipy.stats import rankdata

from analysis import load_run
from analysis.evidence import Evidence
from analysis.laboratory import Bench, judge, overall, table_of
from analysis.rules import RULES
from analysis.statistics import Floats


def loss_and_stability(evidence: Evidence) -> Floats:
    """A number for each configuration; the lowest is taken. Labels are not among the evidence."""
    ranks: Floats = rankdata(evidence.mean("contrastive")) + rankdata(-evidence.agreement)
    return ranks


RULES["loss and stability"] = loss_and_stability
verdicts = [verdict for run in sys.argv[1:] for verdict in judge(Bench.of(load_run(run), run))]
print((100 * overall(table_of(verdicts))).round(1).rename(columns=lambda name: f"{name} regret, points"))
