"""What a stage will take: what finished ones took, wherever they are found, and the table of measured steps."""

import json
import shutil
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from analysis.estimate import EPYC, H100, TABLE, Known, Place, Rate, Work, beside, from_table, observed, timed_here
from mixem.config import Config
from mixem.data.counts import PUBLISHED, Division, division
from mixem.pace import Pace
from mixem.run import Run, StageName
from mixem.settings import preset
from tests.analysis.run_folder import RunBuilder

RESULTS = Path(__file__).parents[2] / "docs" / "results"
HERE = Place("cpu", "AMD EPYC", "bf16", 1)
COST = {
    "compiling": 5.0, "training": 80.0, "validating": 20.0, "scoring": 3.0, "images": 53_760, "validated": 819_200,
    "peak_memory": 1, "compiled": True,
}  # fmt: skip
WHERE = {"device": "cpu", "hardware": "AMD EPYC", "precision": "bf16", "threads": 1}


def work_of(config: Config, stage: StageName = "train") -> Work:
    counts, settings = PUBLISHED[config.data.name], getattr(config, stage)
    return Work(stage, config, division(counts[settings.split], config.data, settings), counts["test"])


def run_with_costs(path: Path, gpu: float | None = None, **where: Any) -> RunBuilder:
    builder = RunBuilder(path, axes={"loss.lambda2": [0.0, 0.1], "seed": [0]})
    for hash in builder.configs:
        builder.finish(hash, cost=COST | {"gpu": gpu}, provenance=WHERE | where)
    return builder


def known(run: Run) -> Known:
    return Known(run, observed(run.snapshot(run.spec().trials)))


def test_finished_stages_foretell_their_like(tmp_path: Path) -> None:
    builder = run_with_costs(tmp_path / "run")
    work = work_of(next(iter(builder.configs.values())))
    assert (work.trained, work.validated) == (100 * COST["images"], COST["validated"])
    rate, source = known(builder.run).rate(work, HERE)
    assert rate.seconds(work) == pytest.approx(80 + 20 + 3)
    assert (rate.compiling, source) == (5, "by this run folder's finished stages")


def test_other_images_and_epochs_take_their_share(tmp_path: Path) -> None:
    builder = run_with_costs(tmp_path / "run")
    config = next(iter(builder.configs.values()))
    half = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 50})})
    rate, _ = known(builder.run).rate(work_of(half), HERE)
    assert rate.seconds(work_of(half)) == pytest.approx(40 + 10 + 3)
    fewer = Work("train", config, Division(5_120, 1_024), 1_000)
    assert rate.seconds(fewer) == pytest.approx(80 * 5_120 / 53_760 + 10 + 3)


@pytest.mark.parametrize(
    ("where", "is_alike"),
    [({}, True), ({"hardware": "another"}, False), ({"precision": "fp32"}, False), ({"threads": 2}, False)],
)
def test_a_run_beside_tells_of_an_equal_place(tmp_path: Path, where: dict[str, Any], is_alike: bool) -> None:
    builder = run_with_costs(tmp_path / "other", **where)
    work = work_of(next(iter(builder.configs.values())))
    rate, source = Known(Run.at(tmp_path / "mine"), []).rate(work, HERE)
    assert (rate.trained == 80 / work.trained) == is_alike
    assert ("as in other" in source) == is_alike
    assert ("an estimate" in source) != is_alike


@pytest.mark.parametrize(
    ("had", "gets", "times"),
    [(0.25, 0.25, 1), (0.25, 1, 0.25), (1, 0.5, 2), (1, 2, 1), pytest.param(None, 0.5, 1, id="it does not say")],
)
def test_trials_that_share_a_gpu_wait_for_one_another(
    tmp_path: Path, had: float | None, gets: float, times: float
) -> None:
    builder = run_with_costs(tmp_path / "run", had, device="cuda")
    work = work_of(next(iter(builder.configs.values())))
    rate, _ = known(builder.run).rate(work, HERE, gets)
    assert rate.seconds(work) == pytest.approx(times * (80 + 20) + 3)


def test_a_run_beside_with_other_work_tells_nothing(tmp_path: Path) -> None:
    builder = run_with_costs(tmp_path / "other")
    config = next(iter(builder.configs.values()))
    larger = config.model_copy(update={"data": config.data.model_copy(update={"image_size": 64})})
    assert "an estimate" in Known(Run.at(tmp_path / "mine"), []).rate(work_of(larger), HERE)[1]


def test_what_lies_beside_may_be_anything(tmp_path: Path) -> None:
    run_with_costs(tmp_path / "other")
    for hash in ("first", "second"):
        (tmp_path / "odd" / "trials" / hash).mkdir(parents=True)
    (tmp_path / "odd/trials/first/result.json").write_text("{")
    (tmp_path / "odd/trials/first/config.yaml").write_text("- 1")
    (tmp_path / "a file").write_text("")
    assert {run.path.name for run, _ in beside(Run.at(tmp_path / "mine"))} == {"other"}
    assert list(beside(Run.at(tmp_path / "absent" / "mine"))) == []


def test_an_early_record_tells_by_its_epochs(tmp_path: Path) -> None:
    run = Run(shutil.copytree(RESULTS / "cifar10/run", tmp_path / "cifar10"))
    config = run.trial("c300ed1c5c7b").config()
    twice = config.model_copy(update={"train": config.train.model_copy(update={"epochs": 200})})
    seconds = [record["seconds"] for record in records(run.path, "trials")]
    rate, _ = known(run).rate(work_of(twice), H100)
    assert rate.seconds(work_of(twice)) == pytest.approx(2 * median(seconds), rel=1e-9)


def records(run: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((run / kind).glob("*/result.json"))]


def stage_seconds(rate: Rate, work: Work) -> float:
    """What a record counts: the seconds of the epochs, compiling among them, without scoring."""
    return rate.seconds(work) - rate.scoring + rate.compiling


def test_the_table_foretells_cifar10_on_an_h100() -> None:
    (base,) = records(RESULTS / "cifar10/run", "base")
    config = preset("cifar10")
    pretraining = work_of(config, "pretrain")
    assert stage_seconds(from_table(pretraining, H100)[0], pretraining) == pytest.approx(base["seconds"], rel=0.25)
    packed, _ = Known(Run.at("nowhere/run"), []).rate(work_of(config), H100, share=1 / 3)
    seconds = median(record["seconds"] for record in records(RESULTS / "cifar10/run", "trials"))
    assert stage_seconds(packed, work_of(config)) == pytest.approx(seconds, rel=0.25)


def test_the_table_foretells_digits_on_two_cores() -> None:
    config = preset("digits")
    for stage, kind in (("pretrain", "base"), ("train", "trials")):
        work = work_of(config, "pretrain" if stage == "pretrain" else "train")
        seconds = median(record["seconds"] for record in records(RESULTS / "digits-12x4/run", kind))
        assert stage_seconds(from_table(work, EPYC)[0], work) == pytest.approx(seconds, rel=0.25)


def test_float32_and_threads_count_on_a_cpu() -> None:
    work = work_of(preset("digits"))
    one = from_table(work, EPYC)[0].trained
    assert from_table(work, EPYC._replace(precision="fp32"))[0].trained == pytest.approx(1.59 * one)
    assert from_table(work, EPYC._replace(threads=4))[0].trained == pytest.approx(one / 2)


def test_compiling_is_counted_where_it_is_done() -> None:
    work = work_of(preset("cifar10"))
    assert from_table(work, H100)[0].compiling == 48
    runtime = work.config.runtime.model_copy(update={"compile": False})
    uncompiled = Work(work.stage, work.config.model_copy(update={"runtime": runtime}), work.images, work.scored)
    assert from_table(uncompiled, H100)[0].compiling == 0


def test_a_step_that_is_timed_here_is_what_the_rate_goes_by(monkeypatch: pytest.MonkeyPatch) -> None:
    config = preset("digits")
    monkeypatch.setattr("analysis.estimate.pace", lambda config, processes, threads: Pace(batch=64, seconds=0.128))
    here = timed_here(config, HERE, processes=2)
    rate, source = Known(Run.at("nowhere/run"), [], here).rate(work_of(config), HERE)
    assert rate.trained == pytest.approx(0.128 / 64)
    assert rate.validated == pytest.approx(rate.trained / 3), "no backward pass"
    assert source == "an estimate, by steps of resnet_small timed here, which take 128 ms each"
    other = HERE._replace(threads=4)
    assert Known(Run.at("nowhere/run"), [], here).rate(work_of(config), other)[0].trained == rate.trained / 2


def test_where_no_step_can_be_timed_the_table_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.estimate.pace", lambda config, processes, threads: None)
    assert timed_here(preset("digits"), HERE, processes=2) == TABLE
