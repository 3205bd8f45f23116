"""Whole sweeps through real Ray, in real processes."""

import contextlib
import ipaddress
import json
import secrets
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from mixem.experiment import load_weights
from mixem.run import Run
from mixem.settings import load_config
from tests.analysis.run_folder import change_record
from tests.mixem.helpers import cut_short
from tests.sweeps.launch import (
    mixem,
    mixem_on_terminal,
    output_of,
    results,
    start_mixem,
    wait_for,
    write_sweep,
)

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1800)]


def record_of(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.mark.slow
def test_trials_run_while_another_base_encoder_is_trained(tmp_path: Path) -> None:
    """The base encoders differ much in length: one is done, and its trials too, while the other is trained."""
    run = tmp_path / "run"
    axes = {"pretrain.epochs": [1, 100_000], "loss.lambda4": [0.0, 0.1]}
    file = write_sweep(tmp_path / "sweep.yaml", run, axes)
    with start_mixem("sweep", file) as driver:
        wait_for(lambda: len(results(run)) == 2 or driver.poll() is not None)
        finished = list(run.glob("base/*/result.json"))
        driver.send_signal(signal.SIGINT)
        output = output_of(driver)
    assert driver.returncode == 130, output
    assert len(finished) == 1
    assert len(list(run.glob("base/*/metrics.csv"))) == 2
    epochs = {load_config(path.parent / "config.yaml").pretrain.epochs for path in results(run).values()}
    assert epochs == {1}


@dataclass(frozen=True)
class Grown:
    """A sweep of which a trial failed, and that has grown since: what it left and printed, what was kept secret."""

    folder: Path
    run: Path
    failed: str
    page: str
    first: str
    screen: str
    secrets: dict[str, str]

    @property
    def best(self) -> Path:
        """The exported configuration and weights."""
        return self.folder / "best"

    def picked(self) -> Any:
        """The record of the trial that was exported."""
        loss = load_config(self.best / "best.yaml").loss
        trials = results(self.run).values()
        (path,) = (path for path in trials if load_config(path.parent / "config.yaml").loss == loss)
        return record_of(path)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    """Two trials, one of which diverges; then on a terminal two that do not, one of them a new one."""
    folder = tmp_path_factory.mktemp("grown")
    hidden = {key: secrets.token_hex(32) for key in ("AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN")}
    with pytest.MonkeyPatch.context() as environment:
        for key, value in hidden.items():
            environment.setenv(key, value)
        run = folder / "run"
        file = write_sweep(folder / "sweep.yaml", run, {"train.learning_rate": [1e-3, 1e30], "loss.lambda4": [0.1]})
        first = mixem("sweep", file)
        assert first.returncode == 1, first.stdout + first.stderr
        (failed,) = run.glob("trials/*/failed.json")
        page = (run / "report" / "index.html").read_text()
        settings = ("loss.lambda4=[0.1, 0.2]", "train.learning_rate=1e-3")
        code, screen = mixem_on_terminal("sweep", file, "--set", settings[0], "--set", settings[1])
        assert code == 0, screen
        exported = mixem("export", run, "-o", folder / "best")
        assert exported.returncode == 0, exported.stderr
    return Grown(folder, run, failed.parent.name, page, first.stdout + first.stderr, screen, hidden)


def test_a_loss_that_is_no_number_fails_its_trial_alone(grown: Grown) -> None:
    assert "1 of 2 trials failed" in grown.first
    assert "term" in record_of(grown.run / "trials" / grown.failed / "failed.json")["reason"]
    assert grown.failed in grown.page


def test_a_grown_sweep_runs_what_is_new_on_the_same_base_encoder(grown: Grown) -> None:
    assert len(results(grown.run)) == 2
    assert len(list(grown.run.glob("base/*/result.json"))) == 1
    assert "2 finished" in mixem("status", grown.run).stdout


def test_a_terminal_shows_a_live_table(grown: Grown) -> None:
    headings = ("trial", "epoch", "reference", "ACC", "to go", "best")
    assert all(heading in grown.screen for heading in headings), grown.screen


def test_the_report_holds_figures_of_the_components(grown: Grown) -> None:
    names = {path.name for path in (grown.run / "report").iterdir()}
    assert {"gallery.png", "class-3.pdf", "confusion.svg"} <= names


def test_an_exported_configuration_trains_to_the_same_numbers(grown: Grown, tmp_path: Path) -> None:
    config = load_config(grown.best / "best.yaml")
    assert config.train.learning_rate == 1e-3
    again = tmp_path / "again"
    trained = mixem("train", grown.best / "best.yaml", "-o", again)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert mixem("compare", grown.run, again).returncode == 1, "of two trials one was trained again"
    shared = mixem("compare", grown.run, again, "--shared")
    assert shared.returncode == 0, shared.stdout + shared.stderr
    (record,) = results(again).values()
    for key in ("validation", "training", "scores"):
        assert record_of(record)[key] == grown.picked()[key]


def test_exported_weights_are_evaluated_as_in_the_sweep(grown: Grown) -> None:
    evaluated = mixem("evaluate", grown.best)
    assert f"ACC {grown.picked()['scores']['mixem']['acc']:.4f}" in evaluated.stdout


def test_no_secret_is_printed_or_written(grown: Grown) -> None:
    left = [grown.first.encode(), grown.screen.encode()]
    left += [path.read_bytes() for path in grown.folder.rglob("*") if path.is_file()]
    assert not [key for key, value in grown.secrets.items() if value.encode() in b"".join(left)]


@pytest.fixture(scope="module")
def two_sizes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a sweep over two sizes of images, which has ended; its run folder lies beside it."""
    folder = tmp_path_factory.mktemp("sizes")
    axes = {"data.image_size": [12, 16], "model.components": [4, 5]}
    file = write_sweep(folder / "sweep.yaml", folder / "run", axes)
    ended = mixem("sweep", file)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return file


def test_every_trial_gets_the_images_it_names(two_sizes: Path) -> None:
    run = two_sizes.parent / "run"
    assert len(results(run)) == 4
    checksums = {
        load_config(path.parent / "config.yaml").data.image_size: record_of(path)["provenance"]["data_checksum"]
        for path in results(run).values()
    }
    assert len(set(checksums.values())) == 2
    assert len(list(run.glob("base/*/result.json"))) == 2, "the number of components does not matter to stage 1"


def test_what_is_damaged_is_named_and_made_anew_on_request(two_sizes: Path) -> None:
    run = Run(two_sizes.parent / "run")
    record, config, weights = run.trials()[:3]
    base = run.bases()[0]
    before = {folder.path: folder.result() for folder in (*run.trials(), *run.bases())}
    change_record(record.result_file, "scores.mixem.acc", "high")
    change_record(base.result_file, "scores.pixel_kmeans.acc", "high")
    config.config_file.unlink()
    cut_short(weights.weights_file)
    refused = mixem("sweep", two_sizes)
    assert refused.returncode == 1
    assert "2 of 4 trials failed" in refused.stderr
    *_, first, second, third = mixem("status", run).stdout.splitlines()
    assert first.startswith(f"  base encoder {base.hash} damaged: result.json: damaged record")
    assert {line.split()[1] for line in (second, third)} == {record.hash, config.hash}
    again = mixem("sweep", two_sizes, "--retry-failed", "--retrain", weights.hash[:8])
    assert again.returncode == 0, again.stdout + again.stderr
    assert len(mixem("status", run).stdout.splitlines()) == 1
    for folder in (*run.trials(), *run.bases()):
        old, new = before[folder.path], folder.result()
        assert (old.scores, old.training, old.weights_sha256) == (new.scores, new.training, new.weights_sha256)
        load_weights(folder)
    idle = mixem("sweep", two_sizes, "--retrain", weights.hash)
    assert f"{weights.hash}: its weights are whole, it is not trained again" in idle.stdout
    assert mixem("sweep", two_sizes, "--retrain", "zzz").returncode == 2


def test_damaged_weights_of_a_base_encoder_end_the_sweep_in_one_line(two_sizes: Path, tmp_path: Path) -> None:
    run = two_sizes.parent / "run"
    weights = next(run.glob("base/*/weights.safetensors"))
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1])
    try:
        ended = mixem("sweep", two_sizes, "--set", "loss.lambda4=0.5")
    finally:
        weights.write_bytes(whole)
    assert ended.returncode == 1
    assert f"remove {weights.parent}, and the base encoder is trained again" in ended.stderr.splitlines()[-1]
    assert not list(run.glob("trials/*/failed.json"))


def test_resources_no_node_has_are_refused_before_any_work(tmp_path: Path) -> None:
    run = tmp_path / "run"
    file = write_sweep(tmp_path / "sweep.yaml", run, {"seed": [0]}, resources={"cpu": 64})
    refused = mixem("sweep", file, "--cpus", 1)
    assert refused.returncode == 2
    assert "64 CPU cores" in refused.stderr
    assert "no node has; the nodes have: 1 CPU core" in refused.stderr
    assert not (run / "trials").exists()


def begin_a_long_sweep(folder: Path) -> Any:
    """A sweep whose base encoder trains for ever, and whose first epoch is over."""
    run = folder / "run"
    file = write_sweep(folder / "sweep.yaml", run, {"seed": [0]}, config={"pretrain": {"epochs": 100_000}})
    driver = start_mixem("sweep", file)
    wait_for(lambda: any(run.glob("base/*/metrics.csv")) or driver.poll() is not None)
    return driver


@pytest.mark.parametrize("interrupt", [signal.SIGINT, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path: Path, interrupt: signal.Signals) -> None:
    """And until then Ray listens on loopback alone."""
    driver = begin_a_long_sweep(tmp_path)
    below = psutil.Process(driver.pid).children(recursive=True)
    addresses = listened_at([psutil.Process(driver.pid), *below])
    driver.send_signal(interrupt)
    output = output_of(driver)
    assert driver.returncode == 130, output
    assert "the same command goes on" in output
    assert "Traceback" not in output
    assert addresses, output
    assert all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses), addresses
    assert len(below) > 3, "Ray's own processes and a worker"
    wait_for(lambda: not any(process.is_running() for process in below))
    page = (tmp_path / "run" / "report" / "index.html").read_text()
    assert "stopped; the same command goes on from here" in page


def listened_at(processes: Iterable[psutil.Process]) -> set[str]:
    """The addresses at which processes wait for connections."""
    addresses: set[str] = set()
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            connections = process.net_connections("inet")
            addresses |= {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN}
    return addresses
