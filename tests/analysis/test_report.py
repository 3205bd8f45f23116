import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from analysis.report import formula, number, percent, write_report
from analysis.selection import Spread
from mixem.config import LossWeights
from mixem.errors import ConfigError
from tests.analysis.run_folder import RunBuilder

VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Reads a page; notes tags, ids, addresses and the text outside style and pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [v or "" for k, v in attrs if k.split(":")[-1] in ("src", "href", "srcset", "action")]
        self.ids += [v or "" for k, v in attrs if k == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open and "svg" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(run: RunBuilder) -> Page:
    return Page(write_report(run.path).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def page(whole: RunBuilder) -> Page:
    return read(whole)


def test_a_finished_run(whole: RunBuilder, page: Page) -> None:
    for name in ("accuracy", "criterion", "marginals", "interactions", "audit"):
        for kind in ("png", "svg", "pdf"):
            assert (whole.path / "report" / f"{name}.{kind}").stat().st_size > 1000
    assert (whole.path / "results.csv").exists()
    assert (whole.path / "results.parquet").exists()
    assert (whole.path / "audit.csv").exists()
    assert page.tags.count("svg") == 5
    assert page.text.count("not enough data") == 5, "four claims, and what it means"
    assert "embedding cannot be read" in page.text
    assert "Unfinished" not in page.text
    assert "27 configurations" in page.text
    assert "27 finished, 0 failed, 0 pending, of 27" in page.text
    assert "contrastive + 1 · component entropy + 0.1 · instance + 0.05 · push + 0.1 · pull" in page.text
    assert "they enter only here" in page.text
    assert page.text.lower().count("trained on train (inductive)") == 5, "tables and the picture"
    assert "test: 10,000 images, used for scores only" in page.text
    assert "Our grid" in page.text
    assert all(trial in page.text for trial in whole.configs)


def test_the_page_fetches_nothing(whole: RunBuilder, page: Page) -> None:
    html = (whole.path / "report" / "index.html").read_text()
    for address in page.addresses:
        assert address.startswith(("#", "data:")) or (whole.path / "report" / address).exists(), address
    assert not re.search(r"@import|url\((?!#)", html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert {m.split('"')[0] for m in re.findall(r"https?://([^/\s]+)", html)} <= {"www.w3.org"}


def test_ids_of_the_pictures_do_not_meet(page: Page) -> None:
    assert len(page.ids) == len(set(page.ids))
    assert {i.partition("-")[0] for i in page.ids} == {"accuracy", "criterion", "marginals", "interactions", "audit"}
    assert all(a[1:] in page.ids for a in page.addresses if a.startswith("#"))


def test_text_from_outside_is_escaped(one_seed: RunBuilder) -> None:
    evil = "<script>alert(1)</script>"
    one_seed.finish_all()
    first, second, *_ = one_seed.configs
    one_seed.finish(first, warnings=(evil,), provenance={"hardware": evil, "data": [evil]})
    (one_seed.path / "trials" / second / "result.json").unlink()
    one_seed.fail(second, f"{evil} $x$ \u202e")
    one_seed.spec(name=f"{evil} \"' $\\alpha$", dataset=evil)
    page = read(one_seed)
    assert "script" not in page.tags
    assert page.text.count(evil) >= 5


@pytest.mark.parametrize(("acc", "words"), [(0.9, "25.5 points above"), (0.6, "4.5 points below"), (0.645, "level")])
def test_the_difference_is_stated_as_it_is(small: RunBuilder, acc: float, words: str) -> None:
    for trial, config in small.configs.items():
        small.finish(trial, acc=acc + 0.01 * config.seed)
    page = read(small)
    assert words in page.text
    assert ("did not pay" in page.text) == (acc == 0.6)
    assert "paired by seed" in page.text


def test_without_baseline(one_seed: RunBuilder) -> None:
    one_seed.finish_all()
    (record,) = one_seed.path.glob("base/*/result.json")
    record.unlink()
    assert "gain over it is unknown" in read(one_seed).text
    record.write_text("{")
    assert "Baselines missing." in read(one_seed).text


def test_an_unfinished_run_is_marked(small: RunBuilder) -> None:
    failed, pending = small.trial(0, lambda2=0.1, lambda4=0.1), small.trial(1, lambda2=0.1, lambda4=0.0)
    small.finish_all(skip=(failed, pending))
    small.fail(failed, "push became NaN")
    page = read(small)
    assert "Unfinished: 6 of 8 trials." in page.text
    assert "provisional" in page.text
    assert "push became NaN (epoch 7)" in page.text


@pytest.mark.parametrize("started", [False, True])
def test_a_run_without_a_finished_trial(run: RunBuilder, started: bool) -> None:
    if started:
        for trial in run.configs:
            run.fail(trial)
    page = read(run)
    assert "There is no result to show." in page.text
    assert ("Unfinished" in page.text) != started
    assert "svg" not in page.tags
    assert "λ3 (push) in {0, 0.05, 0.1}" in page.text


def test_unlabelled_data(one_seed: RunBuilder) -> None:
    page = read(one_seed.finish_all())
    page = read(one_seed.finish_all(labels=False))
    assert "no labels" in page.text
    assert page.tags.count("svg") == 1
    assert not (one_seed.path / "report" / "accuracy.png").exists()
    assert not re.search(r"\bnan\b", page.text)
    assert "Was the criterion right?" not in page.text


def test_what_the_components_hold(one_seed: RunBuilder) -> None:
    one_seed.finish_all()
    for trial in one_seed.configs:
        one_seed.embed(trial)
    page, folder = read(one_seed), one_seed.path / "report"
    photographs = {"gallery.png", "class-0.png", "class-1.png", "class-2.png"}
    assert photographs < set(page.addresses)
    assert {"confusion", "projection"} < {i.partition("-")[0] for i in page.ids}
    assert all((folder / name).with_suffix(kind).exists() for name in photographs for kind in (".svg", ".pdf"))
    for trial in one_seed.configs:
        (one_seed.path / "trials" / trial / "examples.npz").unlink()
    page = read(one_seed)
    assert "kept no example images" in page.text
    assert not photographs & {path.name for path in folder.iterdir()}
    assert "confusion.png" in page.addresses


def test_components_of_unlabelled_data(one_seed: RunBuilder) -> None:
    one_seed.finish_all(labels=False)
    for trial in one_seed.configs:
        one_seed.embed(trial, labels=False)
    page = read(one_seed)
    assert {"gallery.png", "projection.png"} < set(page.addresses)
    assert "confusion.png" not in page.addresses
    assert not any(address.startswith("class-") for address in page.addresses)


def test_baselines_that_stand_beside(one_seed: RunBuilder) -> None:
    one_seed.finish_all()
    assert "Uses labels" not in read(one_seed).text
    (record,) = one_seed.path.glob("base/*/result.json")
    more = {"restarts": {"acc": [0.6, 0.7], "nmi": [0.5, 0.5], "ari": [0.4, 0.4]}, "supervised": {"linear": 0.91}}
    record.write_text(json.dumps(json.loads(record.read_text()) | more))
    page = read(one_seed)
    assert "mean over single random starts 65.0 50.0 40.0" in page.text
    assert "best of 2 random starts" in page.text
    assert "varies by ± 5.0 points" in page.text
    assert "Uses labels Linear probe on the base encoder's features 91.0" in page.text
    assert "nearest neighbours" not in page.text


def test_collapse_is_said_at_the_top(one_seed: RunBuilder) -> None:
    run = one_seed.finish_all()
    picked = run.trial(lambda2=0.1)
    few: dict[str, Any] = {"acc": 0.3, "nmi": 0.2, "ari": 0.1, "clusters_used": 4, "size_entropy": 1.0}
    warning = "mixem: only 4 of 10 clusters are used"
    run.finish(picked, validation={"contrastive": 1.0}, warnings=(warning,), scores={"mixem": few})
    page = read(run)
    assert page.text.index(warning) < page.text.index("What was swept")


def test_transductive_training_is_named(tmp_path: Path) -> None:
    page = read(RunBuilder(tmp_path / "run", "stl10", {"seed": [0, 1]}).finish_all())
    assert "Transductive:" in page.text
    assert "± " in page.text


def test_incomparable_settings_are_named(tmp_path: Path) -> None:
    axes = {"loss.temperature": [0.2, 0.5], "seed": [0]}
    page = read(RunBuilder(tmp_path / "run", axes=axes).finish_all())
    assert "The sweep varies loss.temperature" in page.text
    assert "Other settings vary too" in page.text


def test_damaged_records_are_listed(one_seed: RunBuilder) -> None:
    one_seed.finish_all()
    (one_seed.path / "trials" / next(iter(one_seed.configs)) / "result.json").write_text("{")
    page = read(one_seed)
    assert "1 with a damaged record" in page.text
    assert "result.json: cannot be read" in page.text


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not a run folder"):
        write_report(tmp_path)


def test_formats() -> None:
    assert percent(Spread(0.5, 0.0123, 3)) == "50.0\u00a0±\u00a01.2"
    assert percent(0.5) == "50.0"
    assert number(-0.5, 2) == "−0.50"
    assert number(float("nan")) == "–"
    assert "own weights" in formula("own", LossWeights())
    assert "alone" in formula("contrastive", LossWeights())
