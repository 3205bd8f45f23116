"""Look at a run folder: how far it is, what came of it, whether two agree."""

from pathlib import Path
from typing import Annotated

import typer

from mixem.files import run_path
from sweeps.cli import completion
from sweeps.cli.options import AsJson, OutFolder, Overrides, RunFolder, existing, print_json


def status(
    run: RunFolder,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until nothing is left.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what is finished, started, failed and left of a run, and the time to go.

    Example:
        mixem status runs/digits --watch
    """
    from analysis.status import status_lines, status_of
    from sweeps.watching import watch_status

    if watch:
        watch_status(existing(run))
    elif as_json:
        print_json(status_of(existing(run)))
    else:
        print("\n".join(status_lines(existing(run))))


def report(
    run: RunFolder,
    overrides: Overrides = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Leave the data's own images out of the page and its folder.")
    ] = False,
    serve: Annotated[bool, typer.Option("--serve", help="Show it to a browser, as it is, until Ctrl-C.")] = False,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="The port of --serve; 0 takes any that is free."),
    ] = 8000,
) -> None:
    """Write a run's tables, report and best configuration again, also of an unfinished run.

    With --set criterion=… the report of that criterion is written beside, in report-CRITERION/; all else stays.
    With --serve the page that is there is shown, on this machine alone; ssh -L 8000:127.0.0.1:8000 shows it on another.

    Example:
        mixem report runs/digits
        mixem report runs/digits --set criterion=own
    """
    from analysis.findings import Findings
    from analysis.report import write_answer
    from sweeps.serving import serve as serve_folder
    from sweeps.summary import print_report

    findings = Findings.of(existing(run), overrides or ())
    if serve and findings.place.page.exists() and not no_pictures:
        return serve_folder(findings.place.folder, port, print)
    answer = write_answer(findings, photographs=not no_pictures)
    print_report(findings, answer)
    if serve:
        return serve_folder(findings.place.folder, port, print)
    answer.check()


def dashboard(
    run: RunFolder,
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="The port; 0 takes any that is free.")
    ] = 8080,
) -> None:
    """Explore a run in optuna-dashboard, finished or under way, on this machine alone, until Ctrl-C.

    Each trial's value is the criterion, after each epoch too; scores are among its attributes. What is changed there is
    not kept, and the run folder is only read. It needs `pip install 'mixem-sweeps[dashboard]'`.

    Example:
        mixem dashboard runs/digits
    """
    from mixem.run import Run
    from sweeps.dashboard import serve_dashboard

    serve_dashboard(Run(existing(run)), port, print)


Tolerance = Annotated[
    float,
    typer.Option(
        "--tolerance",
        metavar="NUMBER",
        min=0.0,
        help="How far apart each validation term and each score, a share, may be; 0: equal bit for bit.",
    ),
]
Fingerprint = Annotated[
    str | None,
    typer.Option(
        "--fingerprint", metavar="HEX", help="In place of OTHER: its fingerprint, which its report's table.tex holds."
    ),
]
OtherRun = Annotated[
    Path | None,
    typer.Argument(parser=run_path, metavar="OTHER", autocompletion=completion.run_folders, help="Another one."),
]


def compare(
    first: RunFolder,
    second: OtherRun = None,
    fingerprint: Fingerprint = None,
    tolerance: Tolerance = 0.0,
    shared: Annotated[
        bool, typer.Option("--shared", help="Compare what both have; trials that only one has do not matter.")
    ] = False,
    as_json: AsJson = False,
    page: Annotated[
        bool,
        typer.Option("--page", help="Write compare-A-B.html here, with paired differences."),
    ] = False,
) -> None:
    """Say whether two runs agree, trial by trial; exit code 1 when they do not.

    Example:
        mixem compare runs/digits runs/again --tolerance 0.001
    """
    from analysis.compare import answer_of, compare, describe
    from analysis.findings import Findings

    if second is None or fingerprint is not None:
        return _verify(first, second, fingerprint, as_json)
    runs = existing(first), existing(second)
    findings = Findings.of(runs[0]), Findings.of(runs[1])
    comparison = compare(*findings, tolerance, shared)
    if as_json:
        print_json(answer_of(comparison))
    else:
        print("\n".join(describe(comparison)))
    if page:
        from analysis.page.comparison import write_comparison

        names = "-".join(run.absolute().name for run in runs)
        typer.echo(write_comparison(Path(f"compare-{names}.html"), *findings, comparison), err=as_json)
    if not comparison.agree:
        raise typer.Exit(1)


def _verify(run: Path, other: Path | None, expected: str | None, as_json: bool) -> None:
    """Say whether a run has the fingerprint that is expected; exit code 1 when it has not."""
    from analysis.findings import Findings
    from analysis.paper import fingerprint
    from mixem.errors import ConfigError

    if expected is None:
        raise ConfigError("OTHER: missing; another run folder is needed, or --fingerprint HEX in its place")
    if other is not None:
        raise ConfigError(f"--fingerprint: not allowed with OTHER, which is {other}; one of them is compared")
    if as_json:
        raise ConfigError("--json: not allowed with --fingerprint; its exit code is the answer")
    own = fingerprint(Findings.of(existing(run)))
    print(f"{run}: its fingerprint is {own}{'' if own == expected else f', not {expected}'}")
    if own != expected:
        raise typer.Exit(1)


def audit(
    runs: Annotated[
        list[Path],
        typer.Argument(
            parser=run_path, metavar="RUN...", autocompletion=completion.run_folders, help="Finished run folders."
        ),
    ],
    csv: Annotated[
        Path | None,
        typer.Option("--csv", parser=run_path, metavar="FILE", help="Write the table to a file, accuracies as shares."),
    ] = None,
    figure: Annotated[
        Path | None,
        typer.Option("--figure", parser=run_path, metavar="NAME", help="Draw it, as NAME.png, NAME.svg and NAME.pdf."),
    ] = None,
) -> None:
    """Judge every rule of choice on runs with labels, over all subsets of two or more of their seeds.

    Example:
        mixem audit runs/digits runs/fashion_mnist --csv audit.csv
    """
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


Trial = Annotated[
    str | None,
    typer.Option(
        "--trial",
        metavar="HASH",
        autocompletion=completion.trials,
        help="Another trial than the picked one; the beginning of its hash will do.",
    ),
]
Baseline = Annotated[
    bool, typer.Option("--baseline", help="Copy the base encoder of the pick in its place, for SimCLR + K-means.")
]
Format = Annotated[
    str,
    typer.Option(
        "--format",
        metavar="FORMAT",
        autocompletion=completion.one_of("mixem", "torchvision", "onnx"),
        help="mixem, torchvision (the encoder alone) or onnx.",
    ),
]


def export(
    run: RunFolder,
    out: OutFolder,
    trial: Trial = None,
    baseline: Baseline = False,
    format: Format = "mixem",
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Copy the best configuration and its weights to a folder, or write the model in another format.

    Example:
        mixem export runs/digits -o exported
        mixem export runs/digits -o exported --trial 9f3a --format onnx
    """
    from analysis.answers import ExportAnswer
    from analysis.export import choose, export, export_baseline
    from analysis.findings import Findings
    from mixem.errors import ConfigError

    if baseline and trial:
        raise ConfigError(f"--trial {trial}: not allowed with --baseline; that takes the base encoder of the pick")
    if baseline and format != "mixem":
        raise ConfigError(f"--format {format}: not allowed with --baseline; allowed: mixem")
    usage: list[str] = []
    if format != "mixem":
        from mixem.formats import check_format, convert

        check_format(format)
        chosen = choose(Findings.of(existing(run), overrides or ()), trial)
        file, *usage = convert(chosen.folder.path, chosen.config, out, format)
        files = [file]
    else:
        findings = Findings.of(existing(run), overrides or ())
        paths = export_baseline(findings, out) if baseline else export(findings, out, trial)
        files = [str(paths.config), str(paths.weights)]
    if as_json:
        print_json(ExportAnswer(files=files))
    else:
        print(*files, *usage, sep="\n")
