"""`mixem sort`: a folder for each cluster; nothing is moved, overwritten, or put there twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mixem.checkpoint import load_tensors, save_tensors
from mixem.errors import ConfigError, MixemError
from mixem.trained import load_model
from sweeps.sorting import LABEL, sort_into
from tests.sweeps.disks import small_disk
from tests.sweeps.launch import COMMAND, mixem, output_of, start, wait_for

pytestmark = pytest.mark.usefixtures("one_thread")


def names(folder: Path) -> list[str]:
    """The files below a folder, by their paths in it."""
    paths = (path for path in folder.rglob("*") if not path.is_dir() and path.name != LABEL)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("how", ["hardlink", "symlink", "copy"])
def test_every_picture_is_in_its_clusters_folder(exported: Path, painted: Path, tmp_path: Path, how: str) -> None:
    before = contents(painted)
    sizes = sort_into(exported, [str(painted)], (), tmp_path / "sorted", how)
    assert contents(painted) == before
    assert sizes.total() == 24
    assert len(names(tmp_path / "sorted")) == 24
    paths = sorted(painted.rglob("*.png"))
    clusters = load_model(exported).predict(paths).cluster
    for path, cluster in zip(paths, clusters.tolist(), strict=True):
        there = [file for file in (tmp_path / "sorted" / f"cluster-{cluster}").iterdir() if _holds(file, path, how)]
        assert len(there) == 1


def _holds(file: Path, path: Path, how: str) -> bool:
    if how == "symlink":
        return file.is_symlink() and file.resolve() == path.resolve()
    if how == "hardlink":
        return not file.is_symlink() and file.samefile(path)
    return not file.samefile(path) and file.read_bytes() == path.read_bytes()


@pytest.mark.parametrize("how", ["hardlink", "symlink", "copy"])
def test_the_same_command_again_changes_nothing(exported: Path, painted: Path, tmp_path: Path, how: str) -> None:
    first = sort_into(exported, [str(painted)], (), tmp_path, how)
    there = names(tmp_path)
    (tmp_path / there[0]).unlink()
    assert sort_into(exported, [str(painted)], (), tmp_path, how) == first
    assert names(tmp_path) == there


def test_pictures_of_one_name_get_numbers_and_overwrite_nothing(exported: Path, painted: Path, tmp_path: Path) -> None:
    sort_into(exported, [str(painted)], (), tmp_path, unsure=9)
    assert names(tmp_path) == sorted(f"unsure/{n}{suffix}.png" for n in range(12) for suffix in ("", "-2"))
    (tmp_path / "unsure" / "0.png").unlink()
    (tmp_path / "unsure" / "0.png").write_bytes(b"mine")
    sort_into(exported, [str(painted)], (), tmp_path, unsure=9)
    assert (tmp_path / "unsure" / "0.png").read_bytes() == b"mine"
    assert (tmp_path / "unsure" / "0-3.png").exists()


def test_small_margins_are_unsure(exported: Path, painted: Path, tmp_path: Path) -> None:
    margins = load_model(exported).predict(sorted(painted.rglob("*.png"))).margin
    middle = float(sorted(margins)[12])
    sizes = sort_into(exported, [str(painted)], (), tmp_path, unsure=middle)
    assert sizes["unsure"] == sum(margin < middle for margin in margins.tolist()) == 12


def test_clusters_have_the_names_of_a_file(exported: Path, painted: Path, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("0: tigers\n1: tigers\n2: lions, of which there are none\n")
    sizes = sort_into(exported, [str(painted)], (), tmp_path / "sorted", names=tmp_path / "names.yaml")
    assert sizes == {"tigers": 24}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3: a", "cluster 3 is not allowed; 0 to 2"),
        ("true: a", "cluster True is not allowed"),
        ("0: a/b", "'a/b' is not allowed as a folder's name"),
        ("0: ..", "is not allowed as a folder's name"),
        ("0: 7", "7 is not allowed as a folder's name"),
        ("- a", "a mapping of clusters to names is needed"),
    ],
)
def test_bad_names_are_refused_before_any_work(
    exported: Path, painted: Path, tmp_path: Path, text: str, words: str
) -> None:
    (tmp_path / "names.yaml").write_text(text)
    with pytest.raises(ConfigError, match=words):
        sort_into(exported, [str(painted)], (), tmp_path / "sorted", names=tmp_path / "names.yaml")
    assert not (tmp_path / "sorted").exists()


def test_another_way_is_refused(exported: Path, painted: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--how move: not allowed; hardlink, symlink or copy"):
        sort_into(exported, [str(painted)], (), tmp_path, "move")


def test_what_was_sorted_is_not_sorted_again(exported: Path, painted: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for path in painted.rglob("*.png"):
        os.link(path, pictures / f"{path.parent.name}-{path.name}")
    for _ in range(2):
        assert sort_into(exported, [str(pictures)], (), pictures / "sorted").total() == 24
    assert len(names(pictures / "sorted")) == 24


def test_two_sortings_are_never_mixed(exported: Path, painted: Path, tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text("0: tigers")
    sort_into(exported, [str(painted)], (), tmp_path / "sorted")
    before = names(tmp_path / "sorted")
    for unsure, called, words in ((0.1, None, "another --unsure"), (None, tmp_path / "names.yaml", "other --names")):
        with pytest.raises(ConfigError, match=f"sorted by {words}; another folder is needed"):
            sort_into(exported, [str(painted)], (), tmp_path / "sorted", unsure=unsure, names=called)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "best.yaml").write_bytes((exported / "best.yaml").read_bytes())
    with pytest.raises(ConfigError, match="sorted by another --set data; another folder is needed"):
        sort_into(exported, [str(painted)], ("data.background=black",), tmp_path / "sorted")
    tensors, _ = load_tensors(exported / "best.safetensors")
    save_tensors(tmp_path / "other" / "best.safetensors", tensors | {"centres": -tensors["centres"]}, {})
    with pytest.raises(ConfigError, match="sorted by another model; another folder is needed"):
        sort_into(tmp_path / "other", [str(painted)], (), tmp_path / "sorted")
    assert names(tmp_path / "sorted") == before
    (tmp_path / "sorted" / LABEL).write_text("[")
    with pytest.raises(ConfigError, match="damaged; it says what sorted the pictures"):
        sort_into(exported, [str(painted)], (), tmp_path / "sorted")


def test_a_label_without_its_reading_is_accepted(exported: Path, painted: Path, tmp_path: Path) -> None:
    """Of an earlier version."""
    first = sort_into(exported, [str(painted)], (), tmp_path)
    label = json.loads((tmp_path / LABEL).read_text())
    del label["reading"]
    (tmp_path / LABEL).write_text(json.dumps(label))
    assert sort_into(exported, [str(painted)], (), tmp_path) == first


@pytest.mark.parametrize("how", ["hardlink", "symlink"])
def test_a_link_is_no_copy(exported: Path, painted: Path, tmp_path: Path, how: str) -> None:
    sort_into(exported, [str(painted)], (), tmp_path, how)
    with pytest.raises(MixemError, match=r"\d\.png: a link to .*\d\.png, no copy; another folder is needed"):
        sort_into(exported, [str(painted)], (), tmp_path, "copy")


def test_names_in_a_list_that_no_file_has_are_listed(exported: Path, painted: Path, tmp_path: Path) -> None:
    """A list that Windows wrote, a byte that is no UTF-8, a null byte, and a folder that is a link to itself."""
    (tmp_path / "self").symlink_to("self")
    good = painted / "cat" / "0.png"
    (latin := tmp_path / os.fsdecode(b"b\xe4r.png")).write_bytes(good.read_bytes())
    lines = (os.fsencode(good) + b"\r", os.fsencode(latin), b"a\0b.png", os.fsencode(tmp_path / "self" / "x.png"))
    (tmp_path / "list").write_bytes(b"\n".join(lines))
    for command, table in (("predict", ("--out", tmp_path / "t.csv")), ("sort", ("--to", tmp_path / "to"))):
        strict = {"PYTHONIOENCODING": "utf-8:strict"}
        with (tmp_path / "list").open("rb") as file:
            process = start(*COMMAND, command, exported, "-", *table, stdin=file.fileno(), env=strict)
            said = output_of(process)
        assert process.returncode == 1, said
        assert "error: 2 of 4 pictures cannot be read" in said
    assert len(names(tmp_path / "to")) == 2


def test_pictures_are_not_sorted_into_a_folder_around_them(
    exported: Path, painted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(painted)
    for to in (Path(), painted.parent, painted):
        with pytest.raises(ConfigError, match=r"lies in it, another folder is needed"):
            sort_into(exported, ["cat"], (), to)
    assert not list(painted.rglob("cluster-*"))


def test_a_copy_asks_no_file_system_to_change_a_mode(exported: Path, painted: Path, tmp_path: Path) -> None:
    """exFAT and SMB refuse it."""
    picture = next(painted.rglob("*.png"))
    os.utime(picture, ns=(10**18, 10**18))
    changes, listening = list[object](), True

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        if listening and event in ("os.chmod", "os.setxattr"):
            changes.append(arguments)

    sys.addaudithook(listen)  # there is no taking it off
    sort_into(exported, [str(picture)], (), tmp_path, "copy")
    listening = False
    assert not changes
    (copy,) = tmp_path.rglob("*.png")
    assert copy.stat().st_mtime_ns == 10**18


@pytest.mark.parametrize("unsure", [float("nan"), float("inf")])
def test_a_margin_is_a_number(exported: Path, painted: Path, tmp_path: Path, unsure: float) -> None:
    with pytest.raises(ConfigError, match=f"--unsure {unsure}: not allowed"):
        sort_into(exported, [str(painted)], (), tmp_path, unsure=unsure)


def test_another_disk_is_named_with_what_helps(exported: Path, painted: Path) -> None:
    shared = Path("/dev/shm")
    if not shared.is_dir() or shared.stat().st_dev == painted.stat().st_dev:
        pytest.skip("no second file system")
    target = shared / f"mixem-sort-{os.getpid()}"
    with pytest.raises(MixemError, match=r"on another disk than .*; --how symlink or copy is needed"):
        sort_into(exported, [str(painted)], (), target)
    target.rmdir()  # nothing is left in it


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(exported: Path, painted: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "100k") as disk:
        pictures = tmp_path / "pictures"
        shutil.copytree(painted, pictures)
        for path in pictures.rglob("*.png"):
            path.write_bytes(path.read_bytes() + bytes(8000))  # nobody reads what stands behind a picture's end
        with pytest.raises(MixemError, match=r"No space left on device; the same command goes on from here$"):
            sort_into(exported, [str(pictures)], (), disk / "sorted", "copy")
        some = names(disk / "sorted")
        assert 1 <= len(some) < 24
        whole = {path.read_bytes() for path in pictures.rglob("*.png")}
        assert {path.read_bytes() for path in (disk / "sorted").rglob("*.png")} < whole
        subprocess.run(["mount", "-o", "remount,size=1m", disk], check=True)
        assert sort_into(exported, [str(pictures)], (), disk / "sorted", "copy").total() == 24
        assert set(some) < set(names(disk / "sorted"))
        assert len(names(disk / "sorted")) == 24


def test_a_disk_that_cannot_be_written_is_named(exported: Path, painted: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        with pytest.raises(MixemError, match=f"^{disk}: Read-only file system; the same command goes on from here$"):
            sort_into(exported, [str(painted)], (), disk, "copy")


def test_a_file_in_the_way_is_one_line(exported: Path, painted: Path, tmp_path: Path) -> None:
    (tmp_path / "sorted").write_text("")
    with pytest.raises((MixemError, OSError), match="sorted"):
        sort_into(exported, [str(painted)], (), tmp_path / "sorted")


@pytest.mark.ray
def test_the_command_counts_what_is_where(exported: Path, painted: Path, tmp_path: Path) -> None:
    done = mixem("sort", exported, painted, "--to", tmp_path / "sorted", "--unsure", 9)
    assert (done.returncode, done.stdout) == (0, "unsure: 24\n")
    assert done.stderr.startswith("24 pictures, ")


@pytest.mark.ray
def test_ctrl_c_leaves_whole_pictures_and_the_same_command_goes_on(
    exported: Path, painted: Path, tmp_path: Path
) -> None:
    pictures, to = sorted(painted.rglob("*.png")), tmp_path / "sorted"
    command = (*COMMAND, "sort", exported, "-", "--to", to, "--how", "copy")
    with start(*command, stdin=subprocess.PIPE) as first:
        assert first.stdin
        first.stdin.writelines(f"{path}\n" for path in 60 * pictures)  # more than a batch, and the list is left open
        first.stdin.flush()
        wait_for(lambda: names(to) or first.poll() is not None)
        first.send_signal(signal.SIGINT)
        said = output_of(first)
    assert first.returncode == 130, said
    assert said == "stopped; the same command goes on where something was kept, else it begins again\n"
    some = names(to)
    assert {(to / name).read_bytes() for name in some} <= {path.read_bytes() for path in pictures}
    assert sort_into(exported, [str(painted)], (), to, "copy").total() == 24
    assert set(some) <= set(names(to))
    assert len(names(to)) == 24
