"""What a sweep has come to: python examples/read_run.py RUN."""

import sys

from analysis import figures, load_run

findings = load_run(sys.argv[1])
print(findings.results[["trial", "status", "loss.lambda2", "scores.mixem.acc"]])
if findings.pick is None:
    sys.exit(findings.why_none)
print("picked:", findings.labels(findings.pick.settings))
print(findings.curves().groupby("trial")["train_contrastive"].last())
figures.heatmap(findings, "criterion").savefig("criterion.png")
