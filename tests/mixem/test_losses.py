"""The five terms against the authors' numbers, the paper's table in loops, their ranges and symmetries."""

import itertools
import json
import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from mixem.config import LossWeights
from mixem.losses import LossTerms, WeightTensors, component_means, instance_term, loss_terms, mixture, nt_xent, push

pytestmark = pytest.mark.usefixtures("one_thread")

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = json.loads((GOLDEN / "losses.json").read_text())
Vectors = list[list[float]]
Instance = Literal["max", "entropy"]
Shape = tuple[int, int, int, int]
"""Seed, batch, components, dimension."""
NaiveView = tuple[Vectors, float, float, float, float]
"""z, component entropy, instance term, push, pull of one view."""
INPUTS = ("pi_logits_a", "embeddings_a", "pi_logits_b", "embeddings_b")


def random_inputs(seed: int, batch: int, components: int, dim: int, sharpness: float = 2.0) -> list[Tensor]:
    """Logits and embeddings of both views, float64."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    view = [sharpness * draw(batch, components), draw(batch, components, dim)]
    return [*view, sharpness * draw(batch, components), draw(batch, components, dim)]


def values(terms: LossTerms) -> list[float]:
    return [term.item() for term in terms]


def assert_finite(inputs: list[Tensor], **options: Any) -> LossTerms:
    inputs = [tensor.clone().requires_grad_() for tensor in inputs]
    terms = loss_terms(*inputs, **options)
    terms.total(LossWeights()).backward()
    assert all(math.isfinite(value) for value in values(terms))
    assert all(tensor.grad.isfinite().all() for tensor in inputs)
    return terms


shapes = st.tuples(st.integers(0, 2**32), st.integers(2, 7), st.integers(2, 5), st.integers(1, 4))


# The authors' loss


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_values_and_gradients_equal_the_golden_numbers(case: dict[str, Any]) -> None:
    with np.load(GOLDEN / "losses.npz") as arrays:
        inputs = [torch.from_numpy(arrays[f"{case['case']}/{name}"]).requires_grad_() for name in INPUTS]
        gradients = [torch.from_numpy(arrays[f"{case['case']}/grad_{name}"]) for name in INPUTS]
    terms = loss_terms(*inputs, temperature=case["temperature"])
    total = terms.total(LossWeights(**{name: case[name] for name in LossWeights.model_fields}))
    total.backward()
    for name in LossTerms._fields:
        assert getattr(terms, name).item() == pytest.approx(case[name], rel=0, abs=1e-8)
    assert total.item() == pytest.approx(case["total"], rel=0, abs=1e-8)
    for tensor, gradient in zip(inputs, gradients, strict=True):
        assert gradient.abs().max() > 1e-4
        torch.testing.assert_close(tensor.grad, gradient, rtol=0, atol=1e-8)


# The paper's table, in plain loops


def naive_terms(
    pi_logits_a: Tensor,
    embeddings_a: Tensor,
    pi_logits_b: Tensor,
    embeddings_b: Tensor,
    temperature: float,
    instance: Instance,
) -> list[float]:
    z_a, *terms_a = naive_view(pi_logits_a, embeddings_a, instance)
    z_b, *terms_b = naive_view(pi_logits_b, embeddings_b, instance)
    return [naive_nt_xent(z_a + z_b, temperature), *(a + b for a, b in zip(terms_a, terms_b, strict=True))]


def naive_view(logits: Tensor, embeddings: Tensor, instance: Instance) -> NaiveView:
    batch, components, dim = embeddings.shape
    p, z = [], []
    for k in range(batch):
        exponentials = [math.exp(logit) for logit in logits[k].tolist()]
        p.append([value / sum(exponentials) for value in exponentials])
        row = [0.0] * dim
        for m in range(components):
            e = embeddings[k, m].tolist()
            for d in range(dim):
                row[d] += p[k][m] * e[d] / math.hypot(*e)
        z.append(row)

    q = [sum(p[k][m] for k in range(batch)) / batch for m in range(components)]
    component_entropy = sum(share * math.log(share) for share in q)
    if instance == "max":
        undecided = sum(1 - max(row) for row in p) / batch
    else:
        undecided = sum(-share * math.log(share) for row in p for share in row) / batch

    members = [[[0.0] * dim] for _ in range(components)]  # the phantom rows
    for k in range(batch):
        members[p[k].index(max(p[k]))].append(z[k])
    mu = [[sum(row[d] for row in rows) / len(rows) for d in range(dim)] for rows in members]
    pull = sum(sum(math.dist(row, mu[c]) for row in members[c]) / len(members[c]) for c in range(components))
    pairs = list(itertools.permutations(range(components), 2))
    push = -sum(math.dist(mu[a], mu[b]) for a, b in pairs) / (components**2 - components)
    return z, component_entropy, undecided, push, pull / components


def naive_nt_xent(z: Vectors, temperature: float) -> float:
    batch, losses = len(z) // 2, []

    def similarity(i: int, j: int) -> float:
        dot = sum(a * b for a, b in zip(z[i], z[j], strict=True))
        return dot / (math.hypot(*z[i]) * math.hypot(*z[j])) / temperature

    for i in range(2 * batch):
        others = [math.exp(similarity(i, j)) for j in range(2 * batch) if j != i]
        assert len(others) == 1 + 2 * batch - 2
        losses.append(-math.log(math.exp(similarity(i, (i + batch) % (2 * batch))) / sum(others)))
    return sum(losses) / (2 * batch)


@given(shapes, st.sampled_from([0.1, 0.5, 1.0]), st.sampled_from(["max", "entropy"]))
@settings(max_examples=60)
def test_terms_equal_the_papers_table(shape: Shape, temperature: float, instance: Instance) -> None:
    inputs = random_inputs(*shape)
    expected = naive_terms(*inputs, temperature, instance)
    terms = loss_terms(*inputs, temperature=temperature, instance=instance)
    assert values(terms) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(shapes, st.floats(0.05, 2))
def test_nt_xent_normalises_its_embeddings(shape: Shape, temperature: float) -> None:
    _, z_a, _, z_b = (tensor.flatten(1) for tensor in random_inputs(*shape))
    expected = naive_nt_xent([*z_a.tolist(), *z_b.tolist()], temperature)
    assert nt_xent(z_a, z_b, temperature).item() == pytest.approx(expected, rel=1e-9)
    assert nt_xent(3 * z_a, 0.1 * z_b, temperature).item() == pytest.approx(expected, rel=1e-9)


def test_nt_xent_equals_its_value_by_hand() -> None:
    z_a, z_b = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    assert nt_xent(z_a, z_b, 0.5).item() == pytest.approx(-2 + math.log(math.exp(2) + 2))


# Properties


@given(shapes, st.sampled_from(["max", "entropy"]))
def test_every_term_stays_in_its_range(shape: Shape, instance: Instance) -> None:
    inputs = random_inputs(*shape, sharpness=5.0)
    components = shape[2]
    contrastive, component_entropy, undecided, push, pull = values(loss_terms(*inputs, instance=instance))
    assert contrastive > 0
    assert -2 * math.log(components) - 1e-12 <= component_entropy <= 0
    assert 0 <= undecided <= 2 * (1 - 1 / components if instance == "max" else math.log(components)) + 1e-12
    assert -4 <= push <= 0
    assert 0 <= pull <= 2


def terms_of_logits(logits: Tensor, instance: Instance) -> LossTerms:
    """The terms of random embeddings (6, 4, 3) under these mixing logits (6, 4) in both views."""
    _, embeddings_a, _, embeddings_b = random_inputs(0, 6, 4, 3)
    return loss_terms(logits, embeddings_a, logits, embeddings_b, instance=instance)


@pytest.mark.parametrize(("instance", "highest"), [("max", 1 - 1 / 4), ("entropy", math.log(4))])
def test_undecided_images_have_the_most_even_components(instance: Instance, highest: float) -> None:
    terms = terms_of_logits(torch.zeros(6, 4, dtype=torch.float64), instance)
    assert terms.component_entropy.item() == pytest.approx(-2 * math.log(4))
    assert terms.instance.item() == pytest.approx(2 * highest)


@pytest.mark.parametrize("instance", ["max", "entropy"])
def test_images_decided_for_one_component_have_no_entropy(instance: Instance) -> None:
    terms = terms_of_logits(torch.tensor([0.0, 1000, 0, 0], dtype=torch.float64).expand(6, 4), instance)
    assert terms.component_entropy.item() == 0
    assert terms.instance.item() == 0


@given(shapes)
def test_the_views_can_be_swapped(shape: Shape) -> None:
    logits_a, embeddings_a, logits_b, embeddings_b = random_inputs(*shape)
    terms = loss_terms(logits_a, embeddings_a, logits_b, embeddings_b)
    swapped = loss_terms(logits_b, embeddings_b, logits_a, embeddings_a)
    assert values(swapped) == pytest.approx(values(terms), rel=1e-12, abs=1e-12)


@given(shapes, st.sampled_from(["max", "entropy"]), st.integers(0, 2**32))
def test_samples_and_components_can_be_reordered(shape: Shape, instance: Instance, seed: int) -> None:
    inputs = random_inputs(*shape)
    random = torch.Generator().manual_seed(seed)
    rows, columns = torch.randperm(shape[1], generator=random), torch.randperm(shape[2], generator=random)
    reordered = [tensor[rows][:, columns] for tensor in inputs]
    expected = values(loss_terms(*inputs, instance=instance))
    assert values(loss_terms(*reordered, instance=instance)) == pytest.approx(expected, rel=1e-10, abs=1e-10)


@given(shapes, st.floats(0.01, 100))
def test_lengths_of_embeddings_and_shifts_of_logits_change_nothing(shape: Shape, factor: float) -> None:
    logits_a, embeddings_a, logits_b, embeddings_b = random_inputs(*shape)
    terms = loss_terms(logits_a, embeddings_a, logits_b, embeddings_b)
    other = loss_terms(logits_a + factor, factor * embeddings_a, logits_b, embeddings_b / factor)
    assert values(other) == pytest.approx(values(terms), rel=1e-9, abs=1e-9)


def test_the_mixture_is_not_renormalised() -> None:
    embeddings = torch.tensor([[[2.0, 0.0], [0.0, 3.0]]])
    assert mixture(torch.tensor([[0.25, 0.75]]), embeddings).tolist() == [[0.25, 0.75]]


def test_a_phantom_row_joins_every_component() -> None:
    z = torch.tensor([[2.0, 0.0], [4.0, 0.0]])
    mu, sizes = component_means(z, torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert mu.tolist() == [[2.0, 0.0], [0.0, 0.0], [0.0, 0.0]]
    assert sizes.tolist() == [3, 1, 1]
    assert push(mu).item() == pytest.approx(-4 * 2 / 6)


def test_the_instance_term_equals_its_value_by_hand() -> None:
    p = torch.tensor([[0.5, 0.5], [0.9, 0.1]], dtype=torch.float64)
    assert instance_term(p).item() == pytest.approx((0.5 + 0.1) / 2)
    entropy = -(2 * 0.5 * math.log(0.5) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1)) / 2
    assert instance_term(p, "entropy").item() == pytest.approx(entropy)


@pytest.mark.parametrize("instance", ["max", "entropy"])
def test_gradients_are_those_of_the_terms(instance: Instance) -> None:
    inputs = [tensor.requires_grad_() for tensor in random_inputs(3, 5, 3, 4)]
    weights = LossWeights(lambda1=0.7, lambda2=0.5, lambda3=0.3, lambda4=0.9)
    assert torch.autograd.gradcheck(lambda *tensors: loss_terms(*tensors, instance=instance).total(weights), inputs)


@given(shapes)
def test_the_temperature_is_one_half_and_the_instance_term_the_maximum(shape: Shape) -> None:
    inputs = random_inputs(*shape)
    assert values(loss_terms(*inputs)) == values(loss_terms(*inputs, temperature=0.5, instance="max"))
    z_a, z_b = inputs[1].flatten(1), inputs[3].flatten(1)
    assert nt_xent(z_a, z_b).item() == nt_xent(z_a, z_b, 0.5).item()


class Devices(TorchFunctionMode):
    """Keeps the types of the devices on which tensors are made."""

    def __init__(self) -> None:
        super().__init__()
        self.types: set[str] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.types |= {leaf.device.type for leaf in tree_leaves(result) if isinstance(leaf, Tensor)}
        return result


@pytest.mark.parametrize("instance", ["max", "entropy"])
def test_every_tensor_is_made_where_the_inputs_are(instance: Instance) -> None:
    """On torch's meta device, which has shapes and no values."""
    inputs = [tensor.to("meta") for tensor in random_inputs(0, 6, 4, 3)]
    with Devices() as devices:
        terms = loss_terms(*inputs, instance=instance)
        terms.total(WeightTensors.of(LossWeights(), torch.device("meta")))
    assert devices.types == {"meta"}
    assert {term.shape for term in terms} == {()}


def test_weights_lie_on_their_device_in_float32() -> None:
    weights = WeightTensors.of(LossWeights(), torch.device("meta"))
    assert {(weight.device.type, weight.dtype) for weight in weights} == {("meta", torch.float32)}


# Hard inputs


@pytest.mark.parametrize("instance", ["max", "entropy"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_component_may_take_every_sample(instance: Instance, dtype: torch.dtype) -> None:
    logits_a, embeddings_a, logits_b, embeddings_b = (tensor.to(dtype) for tensor in random_inputs(1, 8, 5, 3))
    logits_a[:, 2] += 50
    logits_b[:, 4] += 50
    terms = assert_finite([logits_a, embeddings_a, logits_b, embeddings_b], instance=instance)
    assert terms.component_entropy.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("instance", ["max", "entropy"])
def test_coefficients_that_underflow_give_finite_terms(instance: Instance) -> None:
    logits = torch.full((8, 4), -200.0)
    logits[torch.arange(8), torch.arange(8) % 3] = 200  # component 3 stays empty, its q is exactly 0
    assert (logits.softmax(dim=1)[:, 3] == 0).all()
    _, embeddings_a, _, embeddings_b = (tensor.float() for tensor in random_inputs(2, 8, 4, 3))
    terms = assert_finite([logits, embeddings_a, logits, embeddings_b], instance=instance)
    assert terms.instance.item() == 0
    shares = [3 / 8, 3 / 8, 2 / 8]
    expected = 2 * sum(share * math.log(share) for share in shares)
    assert terms.component_entropy.item() == pytest.approx(expected, rel=1e-6)


def test_component_means_that_coincide_give_finite_gradients() -> None:
    """Two components of equal members, and two empty ones, all at the same place: no 0 / 0 in the gradients."""
    logits = torch.full((4, 4), -30.0)
    logits[torch.arange(4), torch.tensor([0, 0, 1, 1])] = 30
    embeddings = torch.ones(4, 4, 3)
    terms = assert_finite([logits, embeddings, logits.clone(), embeddings.clone()])
    mu = 2 / 3  # of unit length before the phantom row
    assert terms.push.item() == pytest.approx(-2 * 8 * mu / 12, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype: torch.dtype) -> None:
    inputs = [tensor.to(dtype) for tensor in random_inputs(4, 16, 5, 8)]
    terms = loss_terms(*inputs)
    assert all(term.dtype == torch.float32 for term in terms)
    assert values(terms) == values(loss_terms(*(tensor.float() for tensor in inputs)))


def test_float64_stays_float64() -> None:
    assert all(term.dtype == torch.float64 for term in loss_terms(*random_inputs(4, 4, 3, 2)))


# The total


weightings = st.lists(st.floats(0, 10), min_size=4, max_size=4).map(
    lambda lambdas: LossWeights(**dict(zip(LossWeights.model_fields, lambdas, strict=True)))
)


@given(weightings)
def test_the_total_weighs_the_terms(weights: LossWeights) -> None:
    terms = loss_terms(*random_inputs(5, 6, 4, 3))
    contrastive, component_entropy, undecided, push, pull = values(terms)
    expected = contrastive + weights.lambda1 * component_entropy + weights.lambda2 * undecided
    expected += weights.lambda3 * push + weights.lambda4 * pull
    assert terms.total(weights).item() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@given(weightings)
def test_weights_as_tensors_give_the_same_total(weights: LossWeights) -> None:
    terms = loss_terms(*random_inputs(5, 6, 4, 3))
    tensors = WeightTensors.of(weights, torch.device("cpu"))
    assert tensors._fields == tuple(LossWeights.model_fields)
    assert terms.total(tensors).item() == pytest.approx(terms.total(weights).item(), rel=1e-6, abs=1e-6)
