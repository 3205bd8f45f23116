"""`mixem cluster`: what is refused, what is planned and said before it starts, and the journey to sorted folders."""

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as bounded
from hypothesis import strategies as st
from PIL import Image

from analysis.estimate import TABLE, Measured
from mixem.checkpoint import save_tensors
from mixem.errors import ConfigError, DataError, MixemError
from mixem.model import SimCLR, build
from mixem.pretrained import published_file
from mixem.run import Run
from mixem.settings import dump_config, preset
from sweeps.forecast import Workers
from sweeps.newcomer import Request, cluster_pictures, expected_of, paragraph, run_beside, start_of
from sweeps.plan import Plan
from sweeps.sorting import LABEL, Order
from sweeps.survey import Survey, survey
from tests.sweeps.launch import mixem, output_of, start_mixem, wait_for, written
from tests.sweeps.plans import paint, spec_of


def asked(pictures: Path, to: Path, clusters: int = 3, run: Path | None = None, **changes: Any) -> Request:
    """A request from nothing, of 15 minutes."""
    order = Order(to, **{key: changes.pop(key) for key in ("how", "unsure", "names") if key in changes})
    return Request(pictures, clusters, order, run or run_beside(to), **{"start": "none", **changes})


def like(pictures: int, seconds: float = 0.001, side: int = 500) -> Survey:
    """A folder of so many pictures, each read in so many seconds."""
    return Survey(pictures, pictures, pictures, 0, side, seconds, Path("a.png"))


def empty(folder: Path) -> None:
    folder.mkdir()


def one(folder: Path) -> None:
    paint(folder, count=1)
    shutil.rmtree(folder / "cat")


def few(folder: Path) -> None:
    paint(folder, count=5)


def broken(folder: Path) -> None:
    paint(folder)
    (folder / "cat" / "0.png").write_bytes(b"no picture")


def mixed(folder: Path) -> None:
    paint(folder)
    shutil.copy(folder / "cat" / "0.png", folder)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (empty, DataError, "no picture found; known endings"),
        (one, ConfigError, "PICTURES: 1 is too few for 11 clusters; 11 are needed"),
        (few, ConfigError, "PICTURES: 10 are too few for 11 clusters; 11 are needed"),
        (broken, DataError, "0.png: cannot be read as a picture"),
        (mixed, DataError, "holds both pictures and folders"),
        (lambda folder: None, ConfigError, "PICTURES: .* is not a folder"),
        (lambda folder: folder.write_text(""), ConfigError, "PICTURES: .* is not a folder"),
    ],
    ids=["empty", "one", "few", "broken", "mixed", "absent", "file"],
)
def test_a_folder_that_cannot_be_clustered_is_one_line(
    tmp_path: Path, make: Any, error: type[MixemError], words: str
) -> None:
    make(tmp_path / "pictures")
    with pytest.raises(error, match=words) as refused:
        cluster_pictures(asked(tmp_path / "pictures", tmp_path / "sorted", clusters=11))
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "sorted").exists()
    assert not (tmp_path / "sorted-run").exists()


@pytest.mark.parametrize(
    ("to", "run", "changes", "words"),
    [
        ("{}/sorted", None, {}, "--to .*: not allowed; it lies in .*, whose pictures would be mixed"),
        ("{}", None, {}, "--to .*: not allowed; .* lies in it"),
        ("{}/..", "other", {}, "--to .*: not allowed; .* lies in it"),
        ("sorted", "{}/run", {}, "--run .*: not allowed; it lies in"),
        ("sorted", None, {"how": "move"}, "--how move: not allowed"),
        ("sorted", None, {"unsure": float("nan")}, "--unsure nan: not allowed"),
        ("sorted", None, {"start": "nothing.pth"}, "nothing.pth: cannot be read"),
        (
            "sorted",
            None,
            {"minutes": 0.1},
            "--minutes 0.1: too few; .* about .*: --minutes 1 is needed",
        ),
    ],
)
def test_what_cannot_be_is_refused_before_any_work(
    painted: Path, tmp_path: Path, to: str, run: str | None, changes: dict[str, Any], words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    place = Path(to.format(painted))
    request = asked(painted, place, run=Path((run or "run").format(painted)), **changes)
    with pytest.raises(ConfigError, match=words) as refused:
        cluster_pictures(request)
    assert refused.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_names_are_read_before_any_work(painted: Path, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("3: tigers")
    with pytest.raises(ConfigError, match="cluster 3 is not allowed; 0 to 2"):
        cluster_pictures(asked(painted, tmp_path / "sorted", names=tmp_path / "names.yaml"))


def test_where_pictures_cannot_be_put_is_told_before_any_work(painted: Path, tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == painted.stat().st_dev:
        pytest.skip("no second file system")
    with pytest.raises(MixemError, match=r"on another disk than .*; --how symlink or copy is needed"):
        cluster_pictures(asked(painted, shared / "mixem-none", run=tmp_path / "run", minutes=0.7))
    (shared / "mixem-none").rmdir()
    assert not (tmp_path / "run").exists()


@bounded(max_examples=12)
@given(
    pictures=st.integers(10, 2_000_000),
    seconds=st.floats(1e-4, 0.3),
    side=st.integers(8, 4000),
    minutes=st.floats(0.1, 240),
    clusters=st.integers(2, 10),
)
def test_the_estimate_fits_or_what_is_needed_is_said(
    pictures: int, seconds: float, side: int, minutes: float, clusters: int
) -> None:
    request = asked(Path("/pictures"), Path("/sorted"), clusters=clusters, minutes=minutes)
    try:
        assert expected_of(request, like(pictures, seconds, side), TABLE).seconds <= 60 * minutes
    except ConfigError as error:
        needed = re.search(r"--minutes (\d+) is needed", str(error))
        assert needed
        assert int(needed[1]) > minutes
        again = asked(Path("/pictures"), Path("/sorted"), clusters=clusters, minutes=int(needed[1]))
        assert expected_of(again, like(pictures, seconds, side), TABLE).seconds <= 60 * int(needed[1])


def test_more_minutes_try_more(tmp_path: Path) -> None:
    plans = [
        expected_of(asked(Path("/pictures"), tmp_path / "sorted", minutes=minutes), like(1000), TABLE).plan
        for minutes in (2, 5, 15, 60)
    ]
    counts = [len(plan.trials) for plan in plans]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_slower_machine_tries_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is timed for the largest plan, where there are minutes to fill."""
    seen: list[int] = []

    def ten_times(largest: Plan, workers: Workers) -> tuple[Measured, ...]:
        seen.append(len(largest.trials))
        return tuple(step._replace(milliseconds=10 * step.milliseconds) for step in TABLE)

    monkeypatch.setattr("sweeps.newcomer.timed", ten_times)
    request = asked(Path("/pictures"), tmp_path / "sorted", minutes=30)
    slow, fast = (len(expected_of(request, like(1000), table).plan.trials) for table in (None, TABLE))
    assert slow < fast
    assert seen == [12]
    assert expected_of(asked(Path("/pictures"), tmp_path / "sorted", minutes=0.9), like(40)).trials
    assert seen == [12], "not for less than a minute"


def test_the_same_request_goes_on_with_its_plan(tmp_path: Path) -> None:
    request = asked(Path("/pictures"), tmp_path / "sorted", start=None)
    begun = expected_of(request, like(1000), TABLE).plan
    begun.run.path.mkdir()
    begun.write()
    slower = like(1000, seconds=10)  # which less would fit for
    assert list(expected_of(request, slower, TABLE).plan.trials) == list(begun.trials)
    for change in ({"clusters": 4}, {"minutes": 5.0}):
        other = Request(**{**vars(request), **change})
        assert list(expected_of(other, like(1000), TABLE).plan.trials) != list(begun.trials)
    others = Request(**{**vars(request), "pictures": Path("/others")})
    roots = {config.data.root for config in expected_of(others, like(1000), TABLE).plan.trials.values()}
    assert roots == {"/others"}, "whether they are the same pictures is seen once they are read"
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / LABEL).write_text("{}")
    assert list(expected_of(request, like(1000), TABLE).plan.trials) == list(begun.trials)
    with pytest.raises(ConfigError, match="holds pictures sorted by another command"):
        expected_of(Request(**{**vars(request), "clusters": 4}), like(1000), TABLE)


def test_another_sweeps_run_folder_is_left_alone(tmp_path: Path) -> None:
    Plan.of(spec_of(axes={"seed": [0]}), tmp_path / "run").write()
    with pytest.raises(ConfigError, match=r"--run .*: holds another sweep \(s\); another folder is needed"):
        expected_of(asked(Path("/pictures"), tmp_path / "sorted", run=tmp_path / "run"), like(1000), TABLE)


def test_a_dry_run_says_all_and_writes_nothing(
    painted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster_pictures(asked(painted, tmp_path / "sorted", how="copy", minutes=0.7), dry_run=True)
    said = capsys.readouterr().out
    assert said.count("\n") == 1
    for part in (
        f"24 pictures in {painted} go into 3 clusters.",
        "resized to 32 x 32 pixels",
        "The folders that they lie in count as labels: for scores alone.",
        "The encoder begins with random weights.",
        "SimCLR trains it for ",
        "steps of 4 pictures, with ",
        "by an estimate, of the 0.7 min of --minutes.",
        f"go to {tmp_path}/sorted-run, the sorted pictures as copies to {tmp_path}/sorted.",
        "No picture is moved or changed",
    ):
        assert part in said
    assert not list(tmp_path.iterdir())


def test_an_encoder_of_ours_says_its_size_and_its_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("digits").model_copy(update={"seed": 3})
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder" / "config.yaml").write_text(dump_config(config))
    save_tensors(tmp_path / "encoder" / "weights.safetensors", build(SimCLR, config.model, 1, 0).state_dict(), {})
    monkeypatch.chdir(tmp_path)
    request = asked(Path("/pictures"), Path("sorted"), start="encoder")
    expected = expected_of(request, like(1000), TABLE)
    (first, *_) = expected.plan.trials.values()
    assert (first.data.channels, first.data.image_size, first.pretrain.epochs) == (1, config.data.image_size, 0)
    said = paragraph(request, like(1000), expected)
    assert "The encoder starts from encoder/weights.safetensors, which" in said
    assert "which was trained without labels. MIX'EM trains it for 70 steps of 128 pictures" in said
    assert "labels: for scores" not in said


def test_imagenet_is_the_start_where_it_is_there_already(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert start_of(None) is None
    published_file("resnet18").parent.mkdir(parents=True)
    published_file("resnet18").touch()
    start = start_of(None)
    assert start
    assert (start.name, start.stem, start.image_size) == ("imagenet", "imagenet", None)
    assert start_of("none") is None


@pytest.mark.parametrize(
    ("to", "run"), [("sorted", "sorted-run"), ("a/sorted/", "a/sorted-run"), (".", "{}-run"), ("..", "{}/../..-run")]
)
def test_the_run_folder_lies_beside(to: str, run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = Path(f"{tmp_path.parent}-run") if to == ".." else Path(run.format(tmp_path))
    assert run_beside(Path(to)) == expected


def test_nothing_lies_beside_the_root() -> None:
    with pytest.raises(ConfigError, match="--to /: not allowed"):
        run_beside(Path("/"))


def test_a_survey_counts_and_measures(tmp_path: Path) -> None:
    for split, count in (("train", 5), ("test", 2)):
        (tmp_path / split).mkdir()
        for number in range(count):
            Image.new("RGB", (40, 20 + number)).save(tmp_path / split / f"{number}.png")
    seen = survey(tmp_path)
    assert seen[:5] == (5, 2, 7, 0, 21)
    assert seen.seconds > 0
    assert survey(paint(tmp_path / "classes", count=2)).classes == 2


def test_a_folder_whose_name_no_configuration_holds_is_one_line(tmp_path: Path) -> None:
    pictures = paint(tmp_path / os.fsdecode(b"d\xe4r"), count=2)
    with pytest.raises(ConfigError, match=r"data.root: .*give a link to the folder"):
        survey(pictures)


def test_a_large_picture_that_is_read_alarms_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    """Pillow warns above its own limit, and refuses above twice that."""
    Image.new("RGB", (40, 20)).save(tmp_path / "0.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    assert survey(tmp_path).total == 1
    assert not list(recwarn)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_newcomers_journey(tmp_path: Path) -> None:
    pictures = paint(tmp_path / "pictures")
    (pictures / "cat" / "twin.png").write_bytes((pictures / "cat" / "0.png").read_bytes())
    before = {path: path.read_bytes() for path in pictures.rglob("*.png")}
    command = ("cluster", pictures, "--clusters", 2, "--to", "sorted", "--start", "none", "--minutes", 0.8)
    command += ("--unsure", 0.001)
    with start_mixem(*command, cwd=tmp_path) as first:
        wait_for(lambda: list(tmp_path.glob("sorted-run/base/*/config.yaml")) or first.poll() is not None)
        first.send_signal(signal.SIGINT)
        said = output_of(first)
    assert first.returncode == 130, said
    assert "the same command goes on from here" in said

    second = mixem(*command, cwd=tmp_path)
    assert second.returncode == 0, second.stdout + second.stderr
    place = tmp_path / "sorted"
    files = list(place.rglob("*.png"))
    assert len(files) == 25
    assert {path.stat().st_ino for path in files} == {path.stat().st_ino for path in before}
    assert {path: path.read_bytes() for path in pictures.rglob("*.png")} == before
    for words in ("picked by reference", "how sure: half of", "sorted-run/report/clusters.html", "further pictures"):
        assert words in second.stdout
    for folder in place.iterdir():
        if folder.name != LABEL:
            assert f"sorted/{folder.name}: {len(list(folder.iterdir()))} picture" in second.stdout
    (predict,) = re.findall(r"mixem (sort .*)", second.stdout)
    tomorrow = mixem(*predict.replace("NEW", str(pictures / "cat")).split(), cwd=tmp_path)
    assert tomorrow.returncode == 0, tomorrow.stderr
    assert len(list(place.rglob("*.png"))) == 25

    trained = written(Run.at(tmp_path / "sorted-run").path)
    third = mixem(*command, cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    assert "All of it is trained already." in third.stdout
    assert written(tmp_path / "sorted-run") == trained
