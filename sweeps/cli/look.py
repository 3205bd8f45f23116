"""Look at a run folder: how far it is, what came of it, whether two agree."""

from pathlib import Path
from typing import Annotated

import typer

from mixem.files import run_path
from sweeps.cli.options import OutFolder, Overrides, RunFolder, existing


def status(run: RunFolder) -> None:
    """Show what is finished, started, failed and left of a run, and the time to go."""
    from analysis.status import status_lines

    print("\n".join(status_lines(existing(run))))


def report(run: RunFolder, overrides: Overrides = None) -> None:
    """Write a run's tables, report and best configuration again, also of an unfinished run.

    With --set criterion=… the report of that criterion is written beside, in report-CRITERION/; all else stays.
    """
    from analysis.findings import Findings
    from analysis.report import write_answer
    from analysis.wording import claim_line

    findings = Findings.of(existing(run), overrides or ())
    answer = write_answer(findings)
    print(*map(claim_line, findings.claims), answer.report, sep="\n")
    answer.check()


def compare(
    first: Annotated[Path, typer.Argument(parser=run_path, metavar="RUN_A", help="A run folder.")],
    second: Annotated[Path, typer.Argument(parser=run_path, metavar="RUN_B", help="Another one.")],
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0.0, help="How far apart terms and scores may be; 0: equal bit for bit.")
    ] = 0.0,
    shared: Annotated[bool, typer.Option("--shared", help="Trials that only one run has do not matter.")] = False,
) -> None:
    """Say whether two runs agree, trial by trial; exit code 1 when they do not."""
    from analysis.compare import compare, describe
    from analysis.findings import Findings

    runs = existing(first), existing(second)
    comparison = compare(Findings.of(runs[0]), Findings.of(runs[1]), tolerance, shared)
    print("\n".join(describe(comparison)))
    if not comparison.agree:
        raise typer.Exit(1)


def audit(
    runs: Annotated[list[Path], typer.Argument(parser=run_path, metavar="RUN...", help="Finished run folders.")],
    csv: Annotated[
        Path | None, typer.Option("--csv", parser=run_path, metavar="FILE", help="Write the table, as shares.")
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", parser=run_path, metavar="NAME", help="Draw it, as NAME.png, NAME.svg and NAME.pdf."),
    ] = None,
) -> None:
    """Judge every rule of choice on runs with labels, over all subsets of two or more of their seeds."""
    from rich.console import Console

    from analysis.figures.regrets import draw_regrets
    from analysis.figures.save import write_figure
    from analysis.findings import Findings
    from analysis.laboratory import Bench, judge, names, overall, table_of
    from mixem.files import write_text
    from sweeps.verdicts import print_verdicts

    folders = [existing(run).absolute() for run in runs]
    benches = [Bench.of(Findings.of(run), name) for run, name in zip(folders, names(folders), strict=True)]
    verdicts = table_of(verdict for bench in benches for verdict in judge(bench))
    print_verdicts(benches, verdicts, Console())
    if csv:
        print(write_text(csv, verdicts.to_csv(index=False)))
    if figure:
        write_figure(figure.parent, figure.name, draw_regrets(overall(verdicts)))


def export(
    run: RunFolder,
    out: OutFolder,
    trial: Annotated[
        str | None, typer.Option("--trial", metavar="HASH", help="A trial; without it, the picked one.")
    ] = None,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="In its place the base encoder of the pick, for SimCLR + K-means.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Copy the best configuration and its weights to a folder."""
    from analysis.export import export, export_baseline
    from analysis.findings import Findings
    from mixem.errors import ConfigError

    if baseline and trial:
        raise ConfigError(f"--trial {trial}: not allowed with --baseline; that takes the base encoder of the pick")
    findings = Findings.of(existing(run), overrides or ())
    paths = export_baseline(findings, out) if baseline else export(findings, out, trial)
    print(paths.config, paths.weights, sep="\n")
