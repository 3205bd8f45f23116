"""Both stages' training loop: rates, rows, equal numbers, validation, divergence, states."""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mixem.checkpoint import load_tensors, save_tensors
from mixem.config import TERM_WEIGHTS, StageConfig
from mixem.data.dataset import Dataset, split_stage
from mixem.errors import CheckpointError, DivergenceError
from mixem.losses import LossTerms
from mixem.model import SimCLR, build
from mixem.placing import placed
from mixem.runtime import derive_seed, generator
from mixem.stages import MIXEM, PRETRAIN, STAGES, Stage
from mixem.training import EpochRecord, Training, learning_rate
from tests.mixem.helpers import Configure, assert_same

pytestmark = pytest.mark.usefixtures("one_thread")

both_stages = pytest.mark.parametrize("stage", [PRETRAIN, MIXEM], ids=[*STAGES])

Start = Callable[..., Training]


@pytest.fixture(scope="module")
def base(small: Configure) -> dict[str, Tensor]:
    """Stage 1's weights, random ones."""
    return build(SimCLR, small().model, 3, seed=0).state_dict()


@pytest.fixture(scope="module")
def start(small: Configure, synthetic: Dataset, base: dict[str, Tensor]) -> Start:
    """A function that gives a stage of a configuration, ready to train."""

    def new(stage: Stage[Any], *assignments: str) -> Training:
        config = small(*assignments)
        return Training(stage, config, split_stage(synthetic, config.data, stage.settings(config)), base)

    return new


def snapshot(training: Training) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in training.model.state_dict().items()}


def moments(training: Training) -> dict[int, dict[str, Tensor]]:
    return training.optimizer.state_dict()["state"]


def assert_same_training(first: Training, second: Training) -> None:
    assert_same(snapshot(first), snapshot(second))
    assert moments(first).keys() == moments(second).keys()
    for index, state in moments(first).items():
        assert_same(state, moments(second)[index])


def timeless(row: dict[str, float]) -> dict[str, float]:
    return {key: value for key, value in row.items() if not key.startswith("seconds")}


def run(training: Training, epochs: int | None = None) -> list[dict[str, float]]:
    """The rows of some epochs, or of all that are left."""
    rows: list[dict[str, float]] = []
    while not training.finished and (epochs is None or len(rows) < epochs):
        rows.append(timeless(training.run_epoch().row()))
    return rows


# Learning rate


def test_the_rate_is_held_and_then_follows_one_cosine() -> None:
    stage = StageConfig(epochs=100, learning_rate=2.0, hold_epochs=10)
    assert [learning_rate(stage, epoch) for epoch in range(11)] == [2.0] * 11
    assert learning_rate(stage, 11) == pytest.approx(1 + math.cos(math.pi / 100))
    assert learning_rate(stage, 60) == pytest.approx(1.0)
    assert learning_rate(stage, 99) == pytest.approx(1 + math.cos(0.89 * math.pi))
    rates = [learning_rate(stage, epoch) for epoch in range(10, 100)]
    assert rates == sorted(rates, reverse=True)


def test_without_hold_it_is_torchs_cosine() -> None:
    stage = StageConfig(epochs=7, learning_rate=0.3, hold_epochs=0)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=7)
    for epoch in range(7):
        assert learning_rate(stage, epoch) == pytest.approx(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()


def test_a_hold_longer_than_the_stage_keeps_the_rate() -> None:
    stage = StageConfig(epochs=3, learning_rate=0.1, hold_epochs=10)
    assert [learning_rate(stage, epoch) for epoch in range(3)] == [0.1] * 3


def test_epochs_are_trained_at_their_rate(start: Start) -> None:
    training = start(PRETRAIN, "pretrain.hold_epochs=1", "pretrain.learning_rate=0.002")
    rows = run(training)
    assert [row["learning_rate"] for row in rows] == [learning_rate(training.settings, epoch) for epoch in range(4)]
    assert rows[1]["learning_rate"] == 0.002 > rows[2]["learning_rate"]
    assert training.optimizer.param_groups[0]["lr"] == rows[3]["learning_rate"]


# What an epoch reports


@both_stages
def test_rows_hold_every_raw_term(start: Start, stage: Stage[Any]) -> None:
    rows = run(start(stage, f"{stage.name}.epochs=3", "validation.every=2"))
    terms = LossTerms._fields if stage is MIXEM else ("contrastive",)
    training = {f"train_{term}" for term in terms}
    validation = {f"validation_{term}" for term in terms}
    expected = {"epoch", "learning_rate"} | training
    assert [row.keys() for row in rows] == [expected, expected | validation, expected | validation]
    assert [row["epoch"] for row in rows] == [1, 2, 3]


def test_a_record_is_one_flat_row() -> None:
    record = EpochRecord(2, 1.23456, 0.5, 0.25, 0.1, {"push": -1.0}, {"push": -2.0})
    assert record.row() == {
        "epoch": 2, "seconds": 1.2346, "seconds_compiling": 0.5, "seconds_validating": 0.25, "learning_rate": 0.1,
        "train_push": -1.0, "validation_push": -2.0,
    }  # fmt: skip
    assert "validation_push" not in dataclasses.replace(record, validation=None).row()


@pytest.mark.long
def test_training_lowers_the_contrastive_loss(start: Start) -> None:
    rows = run(
        start(PRETRAIN, "data.limit=512", "pretrain.batch_size=64", "pretrain.epochs=6", "pretrain.learning_rate=0.003")
    )
    assert rows[-1]["train_contrastive"] < rows[0]["train_contrastive"] - 0.1


# The same numbers again


@both_stages
def test_one_seed_gives_one_result(start: Start, stage: Stage[Any]) -> None:
    first, second, other = (start(stage, f"seed={seed}", f"{stage.name}.epochs=2") for seed in (3, 3, 4))
    torch.manual_seed(1)
    rows = run(first)
    torch.manual_seed(2)
    assert run(second) == rows
    assert_same_training(first, second)
    assert run(other) != rows


@pytest.mark.long
@both_stages
@pytest.mark.parametrize("every_epoch", [True, False])
def test_an_interrupted_stage_equals_an_uninterrupted_one(
    start: Start, stage: Stage[Any], every_epoch: bool, tmp_path: Path
) -> None:
    whole = start(stage)
    expected = run(whole)
    rows: list[dict[str, float]] = []
    state = tmp_path / "state.safetensors"
    training = start(stage)
    while not training.finished:
        rows += run(training, epochs=1 if every_epoch else 3)
        training.save(state, rows)
        training = start(stage)
        rows = training.load(state)
    assert training.epochs_done == 4
    assert rows == expected
    assert_same_training(training, whole)


@both_stages
def test_moments_keep_the_layout_of_the_weights(start: Start, stage: Stage[Any], tmp_path: Path) -> None:
    """Fused Adam walks raw memory: a moment laid out in another way belongs to other weights."""
    first, second = start(stage), start(stage)
    run(first, epochs=1)
    first.save(tmp_path / "state", [])
    second.load(tmp_path / "state")
    for training in (first, second):
        for parameter, state in training.optimizer.state.items():
            assert state["exp_avg"].stride() == state["exp_avg_sq"].stride() == parameter.stride()
            assert parameter.grad is None or parameter.grad.stride() == parameter.stride()


def test_the_optimiser_is_adam_with_l2(start: Start) -> None:
    """A step of the fused optimiser equals one of torch's plain loop."""
    training = start(PRETRAIN, "pretrain.weight_decay=0.1", "pretrain.epochs=1")
    plain = start(PRETRAIN, "pretrain.weight_decay=0.1", "pretrain.epochs=1")
    plain.optimizer = torch.optim.Adam(plain.model.parameters(), lr=1e-3, weight_decay=0.1, fused=False, foreach=False)
    run(training)
    run(plain)
    for key, value in snapshot(plain).items():
        torch.testing.assert_close(training.model.state_dict()[key], value, rtol=1e-3, atol=1e-4)


@pytest.mark.long
def test_trials_see_the_same_batches(start: Start) -> None:
    """With steps too small to count, every trial of a seed measures the same raw terms, whatever its weights."""
    still = ("train.learning_rate=1e-30", "train.epochs=2", "validation.every=2")
    rows = run(start(MIXEM, *still))
    for lambdas in (("loss.lambda1=0", "loss.lambda2=5"), ("loss.lambda3=3", "loss.lambda4=0")):
        assert run(start(MIXEM, *still, *lambdas)) == rows
    assert run(start(MIXEM, *still, "seed=1"))[0] != rows[0]
    assert rows[0]["train_contrastive"] != rows[1]["train_contrastive"]


@pytest.mark.parametrize("where", ["meta", "cuda"])
def test_devices_see_the_same_batches_and_views(start: Start, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step is given on another device, drawn on the CPU; on the meta device its shapes alone."""
    if where == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    seen: dict[str, list[tuple[Tensor, ...]]] = {"cpu": [], where: []}
    for name, steps in seen.items():
        training = start(MIXEM, "runtime.device=cpu")
        training.device = torch.device(name)
        training.images = placed(training.images, training.device)

        def look(*arguments: Any, steps: list[tuple[Tensor, ...]] = steps) -> None:
            _, _, _, images, parameters, *_ = arguments
            steps.append((images, *vars(parameters).values()))
            raise StopIteration

        monkeypatch.setattr(training, "_batch_terms", look)
        with pytest.raises(StopIteration):
            training._train_epoch()
        with pytest.raises(StopIteration):
            training._terms(training.images[:8], generator("validation", 0))
    for on_cpu, other in zip(*seen.values(), strict=True):
        for expected, given in zip(on_cpu, other, strict=True):
            assert given.device.type == where
            assert (given.shape, given.dtype) == (expected.shape, expected.dtype)
            assert where == "meta" or torch.equal(given.cpu(), expected)


def test_a_base_encoder_depends_on_nothing_of_stage_2(start: Start) -> None:
    expected = start(PRETRAIN, "pretrain.epochs=1")
    other = start(
        PRETRAIN, "pretrain.epochs=1", "loss.lambda1=9", "loss.lambda4=9", "loss.instance=entropy",
        "model.components=7", "train.epochs=9", "train.batch_size=8", "validation.draws=1", "validation.images=4",
    )  # fmt: skip
    run(expected)
    run(other)
    assert_same_training(other, expected)


# Validation


def test_validation_is_repeatable_and_changes_nothing(start: Start) -> None:
    training = start(MIXEM)
    run(training, epochs=1)
    before = snapshot(training)
    first = training.validate()
    torch.manual_seed(5)
    assert training.validate() == first
    assert_same(snapshot(training), before)
    assert first.mean.keys() == first.draws.keys() == set(LossTerms._fields)


def test_validation_does_not_depend_on_the_trial(start: Start) -> None:
    """The same weights have the same raw terms, whatever the seed and the loss weights of the trial."""
    training = start(MIXEM)
    run(training, epochs=1)
    other = start(MIXEM, "seed=9", "loss.lambda2=3", "train.batch_size=8")
    other.model.load_state_dict(training.model.state_dict())
    assert other.validate() == training.validate()


def test_validation_is_averaged_by_sample(start: Start) -> None:
    """16 images in batches of 6, 6 and 4; the terms of each alone, weighted by its images."""
    training = start(MIXEM, "validation.batch_size=6", "validation.draws=1")
    whole = training.validate().mean
    images = training.validation_images
    assert len(images) == 16
    parts, random = [], torch.Generator().manual_seed(derive_seed("validation", 0))
    training.model.eval()
    with torch.no_grad():
        for batch in (images[:6], images[6:12], images[12:]):
            parts.append(torch.stack(training._terms(batch, random)) * len(batch) / 16)
    assert list(whole.values()) == pytest.approx(sum(parts).tolist(), rel=1e-5)


def test_validation_averages_its_draws(start: Start) -> None:
    two, one = start(MIXEM, "validation.draws=2"), start(MIXEM, "validation.draws=1")
    (two_terms, draws), (first, _) = two.validate(), one.validate()
    for term, values in draws.items():
        assert values[0] == first[term] != values[1]
        assert two_terms[term] == pytest.approx(sum(values) / 2)


def test_a_last_single_image_has_no_negatives_and_is_left_out(start: Start) -> None:
    training = start(MIXEM, "validation.batch_size=5")  # 16 images: 5, 5, 5 and 1
    shorter = start(MIXEM, "validation.batch_size=5", "validation.images=15")
    assert training.validate() == shorter.validate()


# The loss weights act


UNWEIGHTED = (
    *("train.batch_size=48", "train.learning_rate=0.003", "train.epochs=8", "train.validation=0.05"),
    *(f"loss.{weight}=0" for weight in TERM_WEIGHTS.values()),
)


@pytest.fixture(scope="module")
def unweighted(start: Start) -> dict[str, float]:
    """The last row of a training by the contrastive term alone."""
    return run(start(MIXEM, *UNWEIGHTED))[-1]


@pytest.mark.long
@pytest.mark.parametrize(("term", "weight"), TERM_WEIGHTS.items())
def test_a_weight_lowers_its_term(start: Start, unweighted: dict[str, float], term: str, weight: str) -> None:
    weighted = run(start(MIXEM, *UNWEIGHTED, f"loss.{weight}=20"))[-1]
    assert weighted[f"train_{term}"] < unweighted[f"train_{term}"] - 0.01


# Divergence


@both_stages
def test_divergence_names_term_and_epoch(start: Start, stage: Stage[Any]) -> None:
    training = start(stage, f"{stage.name}.learning_rate=1e30")
    with pytest.raises(
        DivergenceError, match=rf"^training term contrastive became (nan|inf) in epoch 1 of {stage.name}$"
    ):
        training.run_epoch()


def test_divergence_in_the_last_step_is_found_in_validation(start: Start) -> None:
    """One step an epoch: its terms are those before the step."""
    training = start(MIXEM, "train.batch_size=48", "train.learning_rate=1e30")
    with pytest.raises(DivergenceError, match=r"^validation term \w+ became (nan|inf) in epoch 1 of train$"):
        training.run_epoch()


# Wrong files


def test_stage_2_needs_a_base_encoder(small: Configure, synthetic: Dataset) -> None:
    config = small()
    with pytest.raises(CheckpointError, match=r"^stage 2 starts from a base encoder; none was given$"):
        Training(MIXEM, config, split_stage(synthetic, config.data, config.train))


def test_stage_2_starts_from_the_base_encoder(start: Start, base: dict[str, Tensor]) -> None:
    state = snapshot(start(MIXEM))
    encoder = {key: value for key, value in base.items() if key.startswith("encoder.")}
    assert_same({key: value for key, value in state.items() if key in encoder}, encoder)


def test_trials_of_a_seed_start_from_the_same_heads(start: Start) -> None:
    first, other = snapshot(start(MIXEM)), snapshot(start(MIXEM, "seed=1"))
    assert_same(snapshot(start(MIXEM, "loss.lambda2=3", "train.learning_rate=1")), first)
    assert not torch.equal(first["components.weight"], other["components.weight"])


def test_a_base_encoder_that_does_not_fit_is_refused(
    small: Configure, synthetic: Dataset, base: dict[str, Tensor]
) -> None:
    config = small("model.width=16")
    with pytest.raises(CheckpointError, match="has shape"):
        Training(MIXEM, config, split_stage(synthetic, config.data, config.train), base)


@pytest.fixture
def saved(start: Start, tmp_path: Path) -> Path:
    training = start(MIXEM)
    run(training, epochs=1)
    training.save(tmp_path / "state.safetensors", [])
    return tmp_path / "state.safetensors"


def test_a_state_of_the_other_stage_is_refused(start: Start, saved: Path) -> None:
    with pytest.raises(CheckpointError, match=r"state of stage 'train', not 'pretrain'$"):
        start(PRETRAIN).load(saved)


@pytest.mark.parametrize("length", [0, 4, 1000, -1])
def test_a_truncated_state_is_refused(start: Start, saved: Path, length: int) -> None:
    saved.write_bytes(saved.read_bytes()[:length])
    with pytest.raises(CheckpointError, match=r"state\.safetensors: damaged weights"):
        start(MIXEM).load(saved)


def test_an_absent_state_is_refused(start: Start, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        start(MIXEM).load(tmp_path / "state.safetensors")


def test_weights_alone_are_no_state(start: Start, saved: Path) -> None:
    tensors, _ = load_tensors(saved)
    save_tensors(saved, tensors, {"stage": "none"})
    with pytest.raises(CheckpointError, match="state of stage 'none'"):
        start(MIXEM).load(saved)


@pytest.mark.parametrize("damage", ["missing", "unexpected", "shape"])
def test_a_state_that_does_not_fit_changes_nothing(start: Start, saved: Path, damage: str) -> None:
    tensors, metadata = load_tensors(saved)
    if damage == "missing":
        del tensors["model.mixing.0.bias"]
    elif damage == "unexpected":
        tensors["model.stranger"] = torch.zeros(1)
    else:
        tensors["model.mixing.0.bias"] = torch.zeros(3)
    save_tensors(saved, tensors, metadata)
    training = start(MIXEM)
    before = snapshot(training)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        training.load(saved)
    assert_same(snapshot(training), before)
    assert training.epochs_done == 0
    assert not moments(training)


def test_a_state_without_all_of_the_optimiser_is_refused(start: Start, saved: Path) -> None:
    tensors, metadata = load_tensors(saved)
    del tensors["optimizer.0.exp_avg"]
    save_tensors(saved, tensors, metadata)
    with pytest.raises(CheckpointError, match="incomplete"):
        start(MIXEM).load(saved)


# Precision


@both_stages
def test_bf16_runs_and_stays_near_fp32(start: Start, stage: Stage[Any]) -> None:
    sixteen, thirty_two = (
        run(start(stage, f"{stage.name}.epochs=1", f"runtime.precision={precision}"))[0]
        for precision in ("bf16", "fp32")
    )
    assert sixteen != thirty_two
    assert sixteen == pytest.approx(thirty_two, abs=0.1)


def test_weights_stay_float32_under_bf16(start: Start) -> None:
    training = start(MIXEM, "runtime.precision=bf16", "train.epochs=1")
    run(training)
    assert all(parameter.dtype == torch.float32 for parameter in training.model.parameters())


# Compiling


@both_stages
def test_what_compiles_ahead_of_the_first_epoch_leaves_no_trace(start: Start, stage: Stage[Any]) -> None:
    ahead, straight = start(stage), start(stage)
    ahead._compile()  # as it stands: this step is not compiled
    assert_same_training(ahead, straight)
    assert all(parameter.grad is None for parameter in ahead.model.parameters())
    assert run(ahead, 1) == run(straight, 1)


def test_only_what_is_compiled_into_a_step_tells_kinds_of_steps_apart(start: Start) -> None:
    def kind(*assignments: str) -> str:
        return start(MIXEM, *assignments)._kind

    others = ("seed=3", "loss.lambda2=0.7", "loss.temperature=0.3", "train.learning_rate=1", "train.weight_decay=1")
    assert kind(*others, "train.epochs=7", "train.hold_epochs=2", "validation.draws=2") == kind()
    compiled_in = (
        *("train.batch_size=8", "model.components=7", "loss.instance=entropy", "augment.blur_kernel=5"),
        *("validation.batch_size=8", "runtime.precision=bf16", "runtime.deterministic=true"),
    )
    kinds = [kind(), start(PRETRAIN)._kind, *map(kind, compiled_in)]
    assert len(set(kinds)) == len(kinds) == 9
