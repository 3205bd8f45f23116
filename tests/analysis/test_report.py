"""The report: files beside the page, and what the page says."""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.export import export
from analysis.figures import pictures
from analysis.report import write_answer, write_report
from mixem.errors import MixemError
from mixem.settings import load_config
from tests.analysis.page_reader import Page
from tests.analysis.run_folder import Axes, RunBuilder, change_record

pytestmark = pytest.mark.long  # whole reports are drawn

DRAWINGS = {"accuracy", "criterion", "marginals", "interactions", "audit"}
TEMPLATES = Path(__file__).parents[2] / "analysis" / "templates"


def read(run: RunBuilder, *overrides: str) -> Page:
    return Page(write_report(run.findings(*overrides)).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(whole: RunBuilder) -> Page:
    """The page of a finished run without embeddings."""
    return read(whole)


def test_drawings_are_written_beside_the_page(whole: RunBuilder, page: Page) -> None:
    for name in DRAWINGS:
        for kind in ("png", "svg", "pdf"):
            assert (whole.run.report_folder / f"{name}.{kind}").stat().st_size > 1000
    assert page.drawings == DRAWINGS


def test_tables_are_written_into_the_run_folder(whole: RunBuilder, page: Page) -> None:
    assert all(table.exists() for table in (*whole.run.table_files, whole.run.audit_file))
    assert "results.csv , results.parquet and audit.csv" in page.text


def test_a_finished_run_is_said_to_be_one(page: Page) -> None:
    assert "Unfinished" not in page.text
    assert "27 configurations" in page.text
    assert "27 finished, 0 failed, 0 pending, of 27" in page.text
    assert "axis values are not published" in page.text


def test_the_page_says_how_the_choice_was_made(page: Page) -> None:
    assert "contrastive + 1 · component entropy + 0.1 · instance + 0.05 · push + 0.1 · pull" in page.text
    assert "they enter only here" in page.text


def test_every_score_says_what_it_was_trained_on(page: Page) -> None:
    trained = re.findall(r"trained on train \( ?inductive ?\)", page.text.lower())
    assert len(trained) == 6, "the card, tables and the picture"
    assert "test: 10,000 images, used for scores only" in page.text


def test_the_page_shows_every_claim_with_its_verdict(page: Page) -> None:
    assert page.text.count("not enough data") == 5, "four claims, and what it means"


def test_the_page_lists_every_trial(whole: RunBuilder, page: Page) -> None:
    assert all(trial in page.text for trial in whole.configs)


def test_without_an_embedding_components_are_not_shown(page: Page) -> None:
    assert "embedding cannot be read" in page.text


def test_the_page_fetches_nothing(whole: RunBuilder, page: Page) -> None:
    html = whole.run.page.read_text()
    assert {address[:1] for address in page.addresses if not address.startswith("data:image/")} == {"#"}
    assert not re.search(r"@import|url\((?!#)", html)
    assert page.tags.count("script") == 1
    assert "link" not in page.tags
    assert {m.split('"')[0] for m in re.findall(r"https?://([^/\s]+)", html)} <= {"www.w3.org"}


def test_every_link_of_the_page_leads_somewhere(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert all(a[1:] in page.ids for a in page.addresses if a.startswith("#"))


def test_text_from_outside_is_escaped(one_seed: RunBuilder) -> None:
    evil = "<script>alert(1)</script>"
    first, second, *_ = one_seed.finish_all().configs
    one_seed.finish(first, warnings=(evil,), provenance={"hardware": evil, "data": [evil]})
    one_seed.folder(second).result_file.unlink()
    one_seed.fail(second, f"{evil} $x$ \u202e")
    one_seed.spec(name=f"{evil} \"' $\\alpha$", dataset=evil)
    page = read(one_seed)
    assert page.tags.count("script") == 1
    assert page.text.count(evil) >= 5


@pytest.mark.parametrize(("acc", "words"), [(0.9, "25.5 points above"), (0.6, "4.5 points below"), (0.645, "level")])
def test_the_difference_is_stated_as_it_is(small: RunBuilder, acc: float, words: str) -> None:
    for trial, config in small.configs.items():
        small.finish(trial, acc=acc + 0.01 * config.seed)
    page = read(small)
    assert words in page.text
    assert ("did not pay" in page.text) == (acc == 0.6)
    assert "over 2 seeds, paired" in page.text


def test_without_a_baseline_the_gain_is_unknown(one_seed: RunBuilder) -> None:
    (base,) = one_seed.finish_all().run.bases()
    base.result_file.unlink()
    assert "gain over it is unknown" in read(one_seed).text


def test_a_damaged_baseline_is_named(one_seed: RunBuilder) -> None:
    (base,) = one_seed.finish_all().run.bases()
    base.result_file.write_text("{")
    assert "Baselines missing." in read(one_seed).text


def test_an_unfinished_run_is_marked(small: RunBuilder) -> None:
    failed, pending = small.trial(0, lambda2=0.1, lambda4=0.1), small.trial(1, lambda2=0.1, lambda4=0.0)
    small.finish_all(skip=(failed, pending))
    small.fail(failed, "push became NaN")
    page = read(small)
    assert "Unfinished: 6 of 8 trials." in page.text
    assert "provisional" in page.text
    assert "push became NaN (epoch 7)" in page.text


def test_started_trials_are_counted_apart_from_pending_ones(small: RunBuilder) -> None:
    started, pending = list(small.configs)[:2]
    small.finish_all(skip=(started, pending))
    small.start(started, epochs=1)
    page = read(small)
    assert "6 finished, 0 failed, 1 started, 1 pending, of 8" in page.text
    assert "Unfinished: 6 of 8 trials. About 11 min of training to go, divided by the workers." in page.text


@pytest.mark.parametrize("failed", [False, True])
def test_a_run_without_a_finished_trial_has_no_result(run: RunBuilder, failed: bool) -> None:
    for trial in run.configs if failed else ():
        run.fail(trial)
    page = read(run)
    assert "There is no result to show. No configuration has all its trials finished" in page.text
    assert ("Unfinished" in page.text) != failed
    assert not page.drawings
    assert "λ3 (push) in {0, 0.05, 0.1}" in page.text


def headings(run: RunBuilder) -> list[str]:
    """The words of all headings of tables on the page."""
    return re.findall(r'<th class="[^"]*" scope="col">([^<]*)</th>', run.run.page.read_text())


def test_unlabelled_data_has_no_accuracy(one_seed: RunBuilder) -> None:
    read(one_seed.finish_all())
    assert {"ACC", "NMI", "ARI"} <= set(headings(one_seed))
    page = read(one_seed.finish_all(labels=False))
    assert "The data has no labels" in page.text
    assert page.drawings == {"criterion"}
    assert not {"ACC", "NMI", "ARI"} & set(headings(one_seed))
    assert "bright in both" not in page.text
    assert not (one_seed.run.report_folder / "accuracy.png").exists()
    assert not re.search(r"\bnan\b", page.text)
    assert "Was the criterion right?" not in page.text


PHOTOGRAPHS = {"gallery.png", "class-0.png", "class-1.png", "class-2.png"}


@pytest.fixture
def embedded(one_seed: RunBuilder) -> RunBuilder:
    """A finished run whose trials kept their embeddings."""
    for trial in one_seed.finish_all().configs:
        one_seed.embed(trial)
    return one_seed


def test_the_page_shows_what_the_components_hold(embedded: RunBuilder) -> None:
    page, folder = read(embedded), embedded.run.report_folder
    assert all(name in page.text for name in PHOTOGRAPHS)
    assert sum(address.startswith("data:image/webp;base64,") for address in page.addresses) == 4 + 1 + 2 + 2 + 8
    assert page.drawings > {"confusion", "projection"}
    assert all((folder / name).with_suffix(kind).exists() for name in PHOTOGRAPHS for kind in (".svg", ".pdf"))


def test_every_trial_shows_images_of_its_clusters(embedded: RunBuilder) -> None:
    for place, trial in enumerate(embedded.configs):
        embedded.embed(trial, seed=place)
    embedded.run.report_folder.mkdir()
    shown = pictures.write_pictures(embedded.findings(), embedded.run.report_folder).trials
    assert list(shown) == list(embedded.findings().losses["reference"].sort_values().index)
    for strips in shown.values():
        assert [strip.heading for strip in strips.strips] == [f"cluster {number}" for number in range(4)]
        assert [strip.note for strip in strips.strips] == ["12 images", "27 images", "20 images", "1 image"]
        assert [strip.count for strip in strips.strips] == [8, 8, 8, 1]


def test_a_trial_with_damaged_examples_shows_no_clusters(embedded: RunBuilder) -> None:
    first = next(iter(embedded.configs))
    embedded.folder(first).examples_file.write_bytes(b"cut short")
    page = read(embedded)
    assert "could not be drawn" not in page.text
    assert "A cluster's number means nothing" in page.text, "of the other trial"


def test_without_pictures_none_of_the_data_is_shown(embedded: RunBuilder) -> None:
    read(embedded)
    page = Page(write_report(embedded.findings(), photographs=False).read_text(encoding="utf-8"))
    assert "The images are left out" in page.text
    assert not any(address.startswith("data:image/webp") for address in page.addresses)
    assert not PHOTOGRAPHS & {path.name for path in embedded.run.report_folder.iterdir()}
    assert page.drawings > {"confusion", "projection"}


def test_pictures_of_an_earlier_report_are_removed(embedded: RunBuilder) -> None:
    read(embedded)
    for trial in embedded.configs:
        embedded.folder(trial).examples_file.unlink()
    page = read(embedded)
    assert "kept no example images" in page.text
    assert not PHOTOGRAPHS & {path.name for path in embedded.run.report_folder.iterdir()}
    assert "confusion" in page.drawings


def test_components_of_unlabelled_data_have_no_classes(one_seed: RunBuilder) -> None:
    for trial in one_seed.finish_all(labels=False).configs:
        one_seed.embed(trial, labels=False)
    page = read(one_seed)
    assert "gallery.png" in page.text
    assert "projection" in page.drawings
    assert "confusion" not in page.drawings
    assert "class-" not in page.text


def test_measured_baselines_stand_beside_the_scores(one_seed: RunBuilder) -> None:
    (base,) = one_seed.finish_all().run.bases()
    assert "Uses labels" not in read(one_seed).text
    change_record(base.result_file, "restarts", {"acc": [0.6, 0.7], "nmi": [0.5, 0.5], "ari": [0.4, 0.4]})
    change_record(base.result_file, "supervised", {"linear": 0.91})
    page = read(one_seed)
    assert "mean over single random starts 65.0 50.0 40.0" in page.text
    assert "best of 2 random starts" in page.text
    assert "standard deviation of 5.0 points" in page.text
    assert "Uses labels Linear probe on the base encoder's features 91.0" in page.text
    assert "nearest neighbours" not in page.text


def test_collapse_is_said_at_the_top(one_seed: RunBuilder) -> None:
    run = one_seed.finish_all()
    few: dict[str, Any] = {"acc": 0.3, "nmi": 0.2, "ari": 0.1, "clusters_used": 4, "size_entropy": 1.0}
    warning = "mixem: only 4 of 10 clusters are used"
    picked = run.trial(lambda2=0.1)
    run.finish(picked, validation={"contrastive": 1.0}, warnings=(warning,), scores={"mixem": few})
    page = read(run)
    assert page.text.index(warning) < page.text.index("What was swept")
    assert "1 of 2 finished trials carry a warning" in page.text


def test_transductive_training_is_named(tmp_path: Path) -> None:
    page = read(RunBuilder(tmp_path / "run", "stl10", {"seed": [0, 1]}).finish_all())
    assert "Transductive : the test images" in page.text
    assert "± " in page.text


def test_incomparable_settings_are_named(tmp_path: Path) -> None:
    axes: Axes = {"loss.temperature": [0.2, 0.5], "seed": [0]}
    page = read(RunBuilder(tmp_path / "run", axes=axes).finish_all())
    care = "Compare with care. The sweep varies loss.temperature, which changes what the validation loss measures"
    assert page.text.index(care) < page.text.index("What was swept")
    assert "but no fair comparison across loss.temperature." in page.text
    assert "Other settings vary too" in page.text


def test_damaged_records_are_listed(one_seed: RunBuilder) -> None:
    one_seed.folder(next(iter(one_seed.finish_all().configs))).result_file.write_text("{")
    page = read(one_seed)
    assert "1 with a damaged record" in page.text
    assert "result.json: damaged record" in page.text


@pytest.fixture
def sampled(tmp_path: Path) -> RunBuilder:
    """A sampled sweep, finished but for a stopped trial."""
    axes: Axes = {"loss.lambda2": [0.01, 0.02, 0.4], "loss.instance": ["max", "entropy"], "seed": [0, 1]}
    run = RunBuilder(tmp_path / "run", axes=axes)
    run.spec(search="random", axes={**axes, "loss.lambda2": {"low": 0.001, "high": 1.0, "log": True}})
    stopped = run.trial(lambda2=0.02)
    run.finish_all(skip=(stopped,))
    run.stop(stopped)
    return run


def test_the_report_of_a_sampled_sweep_says_so(sampled: RunBuilder) -> None:
    page = read(sampled)
    assert "0.001 to 1" in page.text
    assert "Over the settings" in page.text
    assert "Each point is a configuration" in page.text
    assert "1 stopped early" in page.text
    assert "stopped by asha at epoch 3" in page.text
    assert "λ2 (instance) from 0.001 to 1" in page.text


def test_points_that_are_still_to_be_proposed_leave_a_report_unfinished(sampled: RunBuilder) -> None:
    assert "Unfinished" not in read(sampled).text
    sampled.spec(search="optuna", samples=7)
    assert "Unfinished" in read(sampled).text


def test_an_answer_is_the_report_and_the_best_configuration(small: RunBuilder) -> None:
    answer = write_answer(small.finish_all().findings())
    assert answer.report == small.run.page
    assert answer.best
    assert load_config(answer.best.config).loss.lambda2 == 0.1
    assert small.run.pick_file.exists(), "which says that all is there"


WHAT_IF = "criterion=contrastive"


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass(frozen=True)
class Asked:
    """A run with its answer, its files before and after another criterion was asked about, and the page of that."""

    run: RunBuilder
    before: dict[str, bytes]
    after: dict[str, bytes]
    page: Page


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    run = RunBuilder(tmp_path_factory.mktemp("asked") / "run", axes={"loss.lambda2": [0.0, 0.1], "seed": [0]})
    write_answer(run.finish_all().findings())
    before = files_of(run.path)
    answer = write_answer(run.findings(WHAT_IF))
    assert answer.best is None
    assert answer.report == run.path / "report-contrastive" / "index.html"
    return Asked(run, before, files_of(run.path), Page(answer.report.read_text()))


def test_a_what_if_leaves_the_answer_as_it_is(asked: Asked) -> None:
    assert {name: asked.after[name] for name in asked.before} == asked.before
    added = asked.after.keys() - asked.before.keys()
    assert {name.partition("/")[0] for name in added} == {"report-contrastive"}
    assert {f"report-contrastive/{name}" for name in ("results.csv", "results.parquet", "audit.csv")} < added
    assert "report-contrastive/accuracy.png" in added


def test_a_what_if_says_so_at_its_top(asked: Asked) -> None:
    text = asked.page.text
    assert text.index("What if: by contrastive.") < text.index("Picked without labels")
    assert "lowest contrastive validation loss" in text


def test_the_commands_of_a_what_if_carry_its_criterion(asked: Asked, tmp_path: Path) -> None:
    command = re.search(r"mixem export run --set (\S+) -o best", asked.page.text)
    assert command
    assert f"mixem report run --set {WHAT_IF}" in asked.page.text
    picked, own = asked.run.findings(WHAT_IF).pick, asked.run.findings().pick
    assert picked
    assert own
    assert picked.representative != own.representative
    exported = export(asked.run.findings(command[1]), tmp_path).config.read_text()
    assert f"# trial {picked.representative}, " in exported


def test_other_weights_are_a_what_if_of_their_own(asked: Asked) -> None:
    findings = asked.run.findings("reference.lambda2=0.5")
    assert findings.place.folder.name == "report-reference-1.0-0.5-0.05-0.1"


def test_the_runs_own_criterion_is_no_what_if(asked: Asked) -> None:
    findings = asked.run.findings("criterion=reference")
    assert findings.place == asked.run.run.report
    assert not findings.what_if


def test_a_picture_that_fails_costs_itself_alone(embedded: RunBuilder) -> None:
    for trial in embedded.configs:
        file = embedded.folder(trial).embedding_file
        arrays = dict(np.load(file))
        arrays["features"][7] = np.nan
        np.savez(file, **arrays)
    answer = write_answer(embedded.findings())
    assert list(answer.failures) == ["projection"]
    with pytest.raises(MixemError, match=r"^1 figure of the report could not be drawn: projection \(ValueError: .*\)$"):
        answer.check()
    page = Page(answer.report.read_text())
    assert "1 figure of the report could not be drawn: projection (ValueError" in page.text
    assert "The figure projection could not be drawn" in page.text
    assert all(name in page.text for name in PHOTOGRAPHS)
    assert "confusion" in page.drawings
    assert answer.best
    assert answer.best.config.exists()


def test_the_answer_is_written_before_any_picture(embedded: RunBuilder) -> None:
    write_answer(embedded.findings())
    written = {path: path.stat().st_mtime_ns for path in embedded.path.rglob("*") if path.is_file()}
    answer = [*embedded.run.table_files, *embedded.run.best_files, embedded.run.audit_file]
    report = embedded.run.report
    tables = {report.page, report.summary_file, report.tex_file, report.paper_table_file}
    pictures = set(embedded.run.report_folder.iterdir()) - tables
    assert max(written[path] for path in answer) < min(written[path] for path in pictures)


def die(trial: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.ray
def test_a_helper_process_that_dies_costs_its_picture_alone(
    embedded: RunBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "projection", die)
    answer = write_answer(embedded.findings())
    assert list(answer.failures) == ["projection"]
    assert answer.failures["projection"].startswith("TerminatedWorkerError")
    assert answer.best
    assert "confusion" in Page(answer.report.read_text()).drawings
    monkeypatch.undo()
    assert write_answer(embedded.findings()).failures == {}


@pytest.mark.parametrize("embeds", [True, False])
def test_what_is_not_kept_is_left_out_and_said_so(one_seed: RunBuilder, embeds: bool) -> None:
    for trial in one_seed.finish_all().configs:
        one_seed.folder(trial).weights_file.unlink()
        if embeds:
            one_seed.embed(trial)
    findings = one_seed.findings()
    answer = write_answer(findings)
    assert findings.pick
    assert answer.best is None
    assert f"all of trial {findings.pick.representative}, which is picked: best.yaml" in answer.left_out
    assert ("(no weights)" in answer.left_out, "(no embedding" in answer.left_out) == (True, not embeds)
    assert f"--retrain {findings.pick.representative}`" in answer.left_out
    answer.check()
    assert one_seed.run.page.exists()
    assert not one_seed.run.pick_file.exists(), "not all is there"


def test_nothing_is_left_out_of_a_whole_run(embedded: RunBuilder) -> None:
    assert write_answer(embedded.findings()).left_out == ""


def test_damaged_weights_are_said_once_the_report_is_written(one_seed: RunBuilder) -> None:
    for trial in one_seed.finish_all().configs:
        folder = one_seed.folder(trial)
        change_record(folder.result_file, "weights_sha256", "0" * 64)
    with pytest.raises(MixemError, match="damaged weights"):
        write_answer(one_seed.findings())
    assert one_seed.run.page.exists()


def test_the_page_says_how_failed_trials_are_tried_again(one_seed: RunBuilder) -> None:
    failed, other = one_seed.configs
    one_seed.finish(other)
    assert "--retry-failed" not in read(one_seed).text
    one_seed.fail(failed)
    text = write_report(one_seed.findings()).read_text()
    banner, _ = re.findall('<p class="banner warn">(.*?)</p>', text, re.DOTALL)
    assert f'1 trial of 2 failed.</strong> <a href="#trial-{failed}"' in banner
    assert banner.endswith("<code>mixem sweep FILE --retry-failed</code> tries again.")
    folds = re.findall(r'<div id="trial-(\w+)">(.*?)</details>', text, re.DOTALL)
    assert {trial: "\nmixem sweep FILE --retry-failed" in fold for trial, fold in folds} == {failed: True, other: False}


def test_equal_features_are_said_in_place_of_their_projection(embedded: RunBuilder) -> None:
    for trial in embedded.configs:
        file = embedded.folder(trial).embedding_file
        arrays = dict(np.load(file))
        np.savez(file, **arrays | {"features": np.full_like(arrays["features"], 0.3)})
    answer = write_answer(embedded.findings())
    page = Page(answer.report.read_text())
    assert "All test images have the same features" in page.text
    assert "projection" not in page.drawings
    assert answer.failures == {}


def test_names_that_are_no_unicode_do_not_hinder_a_report(embedded: RunBuilder) -> None:
    names = np.array(["caf\udce9", "$", "\u732b"], dtype=np.str_)
    for trial in embedded.configs:
        file = embedded.folder(trial).examples_file
        np.savez(file, **dict(np.load(file)) | {"class_names": names})
        change_record(embedded.folder(trial).result_file, "provenance.data", ["in pictures-\udce9"])
    answer = write_answer(embedded.findings())
    assert answer.failures == {}
    assert "in pictures-\\udce9" in Page(answer.report.read_text(encoding="utf-8")).text
    assert r"caf\xe9: 20 test images" in Page(answer.report.read_text(encoding="utf-8")).text
    assert pd.read_parquet(embedded.run.table_files[1])["provenance.data"].iloc[0] == [r"in pictures-\udce9"]


def test_without_a_pick_an_answer_is_the_report(run: RunBuilder) -> None:
    answer = write_answer(run.findings())
    assert answer.best is None
    assert answer.report.exists()


@pytest.mark.parametrize("template", sorted(TEMPLATES.iterdir()), ids=lambda path: path.name)
def test_templates_hold_no_logic_and_no_long_lines(template: Path) -> None:
    text = template.read_text()
    assert max(map(len, text.splitlines())) <= 160
    assert not re.findall(r"\{%-? *(?:if|elif|else|set|filter)\b", text)
    assert not re.findall(r"\{\{[^}]*(?:\||==|<|>|\+)[^}]*\}\}", text)


@pytest.mark.parametrize("ends", [RunBuilder.fail, RunBuilder.start], ids=["failed", "running"])
def test_no_link_of_a_page_without_a_pick_leads_nowhere(tmp_path: Path, ends: Callable[[RunBuilder, str], Any]) -> None:
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1], "seed": [0, 1]})
    ends(run, next(iter(run.configs)))
    page = read(run)
    assert {address[1:] for address in page.addresses if address.startswith("#")} <= set(page.ids)
