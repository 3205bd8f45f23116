"""The page in a real browser: alone in an empty folder, by mouse and keyboard, at three widths, light and dark.

Needs Chromium (Debian's `chromium`) and playwright's client. Screenshots go to $MIXEM_SCREENSHOTS, if that is set.
"""

import csv
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.live import write_live
from analysis.news import News
from analysis.report import write_report
from mixem.run import Status
from tests.analysis.run_folder import Axes, RunBuilder

pytestmark = pytest.mark.slow
CHROMIUM = shutil.which("chromium")
WIDTHS = {"phone": (390, 844), "tablet": (1024, 768), "desk": (1440, 900)}
EPOCHS = 20


@dataclass
class Opened:
    """A page in the browser, what it has said in the console, and what it has asked for."""

    page: Any
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def value(self, script: str, *arguments: object) -> Any:
        """What a function of JavaScript gives."""
        return self.page.evaluate(script, *arguments)


def with_curves(run: RunBuilder) -> RunBuilder:
    """Metrics of every trial, the pictures of some, and one trial that has failed."""
    for number, trial in enumerate(run.configs):
        falling = np.exp(-np.arange(EPOCHS) / 5) + 0.01 * number
        terms = ("contrastive", "component_entropy", "instance", "push", "pull")
        rows = [
            {"epoch": epoch + 1, "seconds": 2.0, "learning_rate": 0.001}
            | {f"{kind}_{term}": float(falling[epoch]) for kind in ("train", "validation") for term in terms}
            for epoch in range(EPOCHS)
        ]
        run.folder(trial).write_metrics(rows)
        run.embed(trial)
    failed = next(iter(run.configs))
    run.folder(failed).result_file.unlink()
    run.fail(failed)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunBuilder:
    """Nine configurations with two seeds."""
    axes = {"loss.lambda2": [0.0, 0.01, 0.1], "loss.lambda4": [0.0, 0.05, 0.1], "seed": [0, 1]}
    return with_curves(RunBuilder(tmp_path_factory.mktemp("browser") / "run", axes=axes).finish_all())


@pytest.fixture(scope="module")
def alone(run: RunBuilder, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page, copied into an empty folder."""
    return Path(shutil.copy(write_report(run.findings()), tmp_path_factory.mktemp("alone")))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("there is no chromium")
    with playwright.sync_playwright() as client:
        browser = client.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser: Any, path: Path, width: str = "desk", scheme: str = "light", **context: Any) -> Opened:
    across, down = WIDTHS[width]
    viewport = {"width": across, "height": down}
    page = browser.new_context(viewport=viewport, color_scheme=scheme, **context).new_page()
    opened = Opened(page)
    page.on("console", lambda message: opened.messages.append(message.text))
    page.on("pageerror", lambda error: opened.messages.append(str(error)))
    page.on("request", lambda request: opened.requests.append(request.url))
    page.goto(path.as_uri())
    return opened


@pytest.fixture
def desk(browser: Any, alone: Path) -> Iterator[Opened]:
    opened = open_page(browser, alone, permissions=["clipboard-read", "clipboard-write"])
    yield opened
    opened.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_alone_in_an_empty_folder(browser: Any, alone: Path, width: str, scheme: str) -> None:
    opened = open_page(browser, alone, width, scheme)
    assert opened.messages == []
    assert [url for url in opened.requests if not url.startswith("data:image/")] == [alone.as_uri()]
    assert opened.value("() => [...document.images].filter(i => !i.naturalWidth).length") == 0
    assert opened.value("() => document.images.length") > 5
    links = "() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))"
    ids = set(opened.value("() => [...document.querySelectorAll('[id]')].map(e => e.id)"))
    assert {link[1:] for link in opened.value(links)} <= ids
    assert opened.value("() => document.documentElement.scrollWidth") <= WIDTHS[width][0]
    save(opened, f"{width}-{scheme}")
    opened.page.context.close()


def save(opened: Opened, name: str) -> None:
    """Keep what is seen of the page, if a folder for that is named."""
    if folder := os.environ.get("MIXEM_SCREENSHOTS"):
        opened.page.screenshot(path=Path(folder) / f"{name}.png")


def bottom_of(opened: Opened, selector: str) -> float:
    """Of the lowest element, in pixels from the top of the page."""
    script = "s => Math.max(...[...document.querySelectorAll(s)].map(e => e.getBoundingClientRect().bottom + scrollY))"
    bottom: float = opened.value(script, selector)
    return bottom


def test_the_first_screen_holds_all_answers(desk: Opened) -> None:
    assert desk.value("() => document.querySelectorAll('.card').length") == 4
    assert bottom_of(desk, ".card") < WIDTHS["desk"][1]
    assert bottom_of(desk, ".beside .heat") < WIDTHS["desk"][1]


@pytest.mark.parametrize(("side", "rows"), [(3, 1), (5, 3)])
def test_panels_stand_beside_one_another_on_the_first_screen(
    browser: Any, tmp_path: Path, side: int, rows: int
) -> None:
    """Those of the paper's grid in one row."""
    values = [0.0, 0.01, 0.05, 0.1, 0.2][:side]
    axes: Axes = {f"loss.lambda{number}": values for number in (2, 3, 4)} | {"seed": [0]}
    run = RunBuilder(tmp_path / "run", axes=axes).finish_all()
    opened = open_page(browser, write_live(run.path, News("", moving=False)))
    boxes = """s => [...document.querySelectorAll(s)].map(e => e.getBoundingClientRect()).map(b => [b.top, b.right])"""
    panels = opened.value(boxes, ".beside .heat")
    assert len(panels) == side
    assert len({top for top, _ in panels}) == rows
    assert max(right for _, right in panels) <= opened.value(boxes, ".beside .heats")[0][1]
    assert bottom_of(opened, ".beside") < WIDTHS["desk"][1]
    save(opened, f"panels-{side}")
    opened.page.context.close()


def test_a_phone_shows_the_answers_first(browser: Any, alone: Path) -> None:
    opened = open_page(browser, alone, "phone")
    tops = "() => [...document.querySelectorAll('h1, .card')].map(e => e.getBoundingClientRect().top + scrollY)"
    heading, first, *_ = opened.value(tops)
    assert first - heading < 100
    assert bottom_of(opened, ".card") < opened.value(
        "() => document.querySelector('.lead').getBoundingClientRect().top"
    )
    opened.page.context.close()


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a search over ranges: twenty points, the third of which failed."""
    random = np.random.default_rng(0)
    points = [(float(random.uniform(0, 0.3)), float(random.uniform(0, 0.1)), 0) for _ in range(20)]
    axes = {"loss.lambda2": [0.1], "loss.lambda4": [0.0], "seed": [0]}
    run = RunBuilder(tmp_path_factory.mktemp("search") / "run", axes=axes, points=points)
    run.spec(
        search="random", samples=20, axes={key: {"low": 0.0, "high": 0.3} for key in list(axes)[:2]} | {"seed": [0]}
    )
    for number, (trial, config) in enumerate(run.configs.items()):
        away = abs(config.loss.lambda2 - 0.1)
        if number == 2:
            run.fail(trial)
        else:
            run.finish(trial, acc=0.9 - away, validation={"contrastive": 4 + away})
    return write_report(run.findings())


def test_the_first_screen_of_a_search_holds_its_answers_and_points(browser: Any, search: Path) -> None:
    opened = open_page(browser, search)
    assert opened.value("() => document.querySelectorAll('.card').length") == 4
    assert bottom_of(opened, ".card") < WIDTHS["desk"][1]
    assert bottom_of(opened, ".beside .search") < WIDTHS["desk"][1]
    assert opened.value("() => document.querySelectorAll('.beside .dot').length") == 19
    picked = opened.page.locator(".beside a:has(.dot.pick)")
    assert picked.get_attribute("href") == opened.page.locator(".card a").first.get_attribute("href")
    assert "rank 1 of 19" in picked.locator("title").text_content()
    save(opened, "search-desk")
    opened.page.context.close()


def test_a_phone_shows_a_searchs_answers_before_its_points(browser: Any, search: Path) -> None:
    opened = open_page(browser, search, "phone")
    top = "s => document.querySelector(s).getBoundingClientRect().top + scrollY"
    assert bottom_of(opened, ".card") <= opened.value(top, ".beside .search")
    assert bottom_of(opened, ".beside .search") <= opened.value(top, ".lead")
    assert opened.value("() => document.documentElement.scrollWidth") <= WIDTHS["phone"][0]
    assert bottom_of(opened, ".card:first-child") < WIDTHS["phone"][1]
    save(opened, "search-phone")
    opened.page.context.close()


@pytest.mark.parametrize("width", WIDTHS)
def test_no_shadow_lies_over_a_caption(browser: Any, alone: Path, width: str) -> None:
    """It says that a table goes on, and a caption stays as wide as what is seen of the table."""
    opened = open_page(browser, alone, width)
    boxes = """() => [...document.querySelectorAll('.scroll')].map(region => {
        const [outer, inner] = [region, region.querySelector('caption span')].map(e => e.getBoundingClientRect());
        return [outer.left - inner.left, outer.right - inner.right, outer.top - inner.top];
    })"""
    assert opened.value(boxes)
    assert all(abs(distance) < 1 for distances in opened.value(boxes) for distance in distances)
    opened.page.context.close()


def test_rows_have_lines_under_the_column_that_stays(browser: Any, alone: Path) -> None:
    """Collapsed lines would not move with it."""
    opened = open_page(browser, alone, "phone")
    opened.page.locator(".scroll:has(table.trials)").evaluate("region => region.scrollTo(200, 0)")
    first = opened.page.locator("table.trials tbody tr > :first-child").first
    line = first.evaluate("cell => [getComputedStyle(cell).borderCollapse, getComputedStyle(cell).borderBottomWidth]")
    assert line == ["separate", "1px"]
    opened.page.context.close()


def test_a_heatmap_uses_the_width_of_a_desk(desk: Opened) -> None:
    right = "s => Math.max(...[...document.querySelectorAll(s)].map(e => e.getBoundingClientRect().right))"
    section = desk.value(right, "#grid")
    assert 0.9 * section < desk.value(right, "#grid .heat") <= section


def column(opened: Opened, number: int) -> list[str]:
    """The texts of a column of the table of trials, of the rows that are shown."""
    script = """number => [...document.querySelectorAll('table.trials tbody tr:not([hidden])')]
        .map(row => row.cells[number].textContent.trim())"""
    texts: list[str] = opened.value(script, number)
    return texts


@pytest.mark.parametrize("by", ["mouse", "keyboard"])
def test_sorting_sorts(desk: Opened, by: str) -> None:
    button = desk.page.locator("table.trials thead th button", has_text="ACC").first

    def press() -> None:
        if by == "mouse":
            button.click()
        else:
            button.focus()
            desk.page.keyboard.press("Enter")

    for order, sign in (("descending", -1), ("ascending", 1)):
        press()
        assert button.evaluate("button => button.parentElement.getAttribute('aria-sort')") == order
        texts = column(desk, 1)
        values = [sign * float(text) for text in texts if text]
        assert values == sorted(values)
        assert texts[-1] == "", "what has no value is last in either order"
    assert desk.value("() => document.querySelectorAll('th[aria-sort]').length") == 1


def test_filtering_leaves_what_has_all_words(desk: Opened, run: RunBuilder) -> None:
    field = desk.page.get_by_label("Filter trials")
    field.fill("failed")
    assert column(desk, 0) == [next(iter(run.configs))]
    assert desk.page.locator(".filter output").text_content() == "1 of 18 trials"
    field.fill("")
    assert len(column(desk, 0)) == 18


def test_cells_say_the_numbers_of_the_table(desk: Opened, run: RunBuilder) -> None:
    with run.run.table_files[0].open() as file:
        accuracy = {row["trial"]: row["scores.mixem.acc"] for row in csv.DictReader(file)}
    titles = desk.value("() => [...document.querySelectorAll('#grid .heat a')].map(a => [a.hash.slice(7), a.title])")
    findings = run.findings()
    for trial, title in titles:
        configuration = next(c for c in findings.configurations if trial in c.trials)
        if configuration.status == Status.FINISHED:
            mean = 100 * sum(float(accuracy[hash]) for hash in configuration.trials) / 2
            assert f"ACC {mean:.1f}" in title
            assert f"rank {findings.ranks[configuration.key]} of 8" in title
        else:
            assert "failed" in title
    assert len(titles) == 18, "nine cells of accuracy, nine of the criterion"


def test_points_and_curves_lead_to_their_trials(desk: Opened) -> None:
    links = desk.value("() => [...document.querySelectorAll('svg a')].map(a => a.querySelector('title').textContent)")
    assert len(links) > 100
    assert all("λ2 = " in title for title in links)


def test_a_cell_opens_its_trial(desk: Opened) -> None:
    cell = desk.page.locator("#grid .heat a").first
    target = cell.get_attribute("href")
    cell.click()
    desk.page.wait_for_function("id => document.getElementById(id).getBoundingClientRect().height > 0", arg=target[1:])
    top = desk.value("id => document.getElementById(id).getBoundingClientRect().top", target[1:])
    assert 0 <= top < WIDTHS["desk"][1]


def test_a_command_is_copied(desk: Opened) -> None:
    card = desk.page.locator(".card").first
    card.get_by_role("button", name="Copy").click()
    card.get_by_role("button", name="Copied").wait_for()
    assert desk.value("() => navigator.clipboard.readText()") == "mixem export run -o best"


def test_a_figure_is_saved_from_the_page(desk: Opened, tmp_path: Path) -> None:
    figure = desk.page.locator("figure[data-name=marginals]")
    with desk.page.expect_download() as download:
        figure.get_by_role("button", name="Save this figure").click()
    assert download.value.suggested_filename == "marginals.svg"
    download.value.save_as(tmp_path / "marginals.svg")
    desk.page.goto((tmp_path / "marginals.svg").as_uri())
    assert desk.value("() => document.documentElement.querySelectorAll('g[id$=panel_0], g[id$=panel_1]').length") == 2


def test_without_script_all_is_readable(browser: Any, alone: Path) -> None:
    opened = open_page(browser, alone, java_script_enabled=False)
    assert opened.page.locator("button").count() == 0
    assert opened.page.locator("table.trials tbody tr").count() == 18
    opened.page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_axe_has_nothing_to_say(browser: Any, alone: Path, width: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    opened = open_page(browser, alone, width, scheme)
    for fold in opened.page.locator("details").all():
        fold.evaluate("fold => { fold.open = true; }")
    violations = axe.Axe().run(opened.page).response["violations"]
    assert [(rule["id"], rule["nodes"][0]["html"][:200]) for rule in violations] == []
    opened.page.context.close()


def test_a_page_of_a_sweep_under_way_becomes_the_finished_one(browser: Any, tmp_path: Path) -> None:
    run = RunBuilder(tmp_path / "run", axes={"loss.lambda2": [0.0, 0.1], "seed": [0, 1]})
    first, *_, last = run.configs
    run.finish_all(skip=(last,))
    page = write_live(run.path, News("digits: 3 finished, 1 running", moving=True))
    opened = open_page(browser, page)
    text = opened.page.locator("#as-of")
    assert "3 finished, 1 running" in text.text_content()
    assert "Nothing has moved" not in text.text_content()
    opened.page.get_by_label("Filter trials").fill(first)
    opened.page.locator("table.trials thead button", has_text="Criterion").click()
    opened.page.locator("details:has(> #each-trial) > summary").click()
    opened.page.locator(f"details:has(> #trial-{first}) > summary").click()
    opened.page.get_by_label("Filter trials").focus()
    run.finish(last)
    write_report(run.findings())
    opened.page.wait_for_function("() => !document.getElementById('as-of')", timeout=60_000)
    assert opened.page.locator(f"#trial-{first}").is_visible()
    assert opened.value("() => document.activeElement.type") == "search"
    assert column(opened, 0) == [first]
    assert opened.page.locator("th[aria-sort=ascending]").text_content() == "Criterion"
    assert opened.messages == []
    opened.page.context.close()
