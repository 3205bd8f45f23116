"""Encoders, heads, building, and the way from stage 1 to stage 2."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from mixem.config import ModelConfig
from mixem.errors import CheckpointError
from mixem.model import AnyModel, ComponentHeads, Encoder, MixtureModel, SimCLR, build, transfer_encoder
from tests.mixem.helpers import assert_same

pytestmark = pytest.mark.usefixtures("one_thread")

both_kinds = pytest.mark.parametrize("kind", [SimCLR, MixtureModel])

TINY = ModelConfig(encoder="resnet_small", width=4, components=3, embedding_dim=5)


def random_images(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def trained(model: AnyModel) -> AnyModel:
    """The model with batch-norm statistics of its own, as training would leave it."""
    random = torch.Generator().manual_seed(1)
    for name, value in model.named_buffers():
        if name.endswith("running_mean"):
            value.normal_(generator=random)
        elif name.endswith("running_var"):
            value.uniform_(0.5, 2, generator=random)
        else:
            value.fill_(17)
    return model


# Encoders


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_imagenet_stem_gives_torchvisions_resnet18(mode: str) -> None:
    encoder = Encoder(ModelConfig(stem="imagenet"), 3)
    reference = trained(resnet18(weights=None))
    reference.fc = nn.Identity()
    assert [(key, value.shape) for key, value in encoder.state_dict().items()] == [
        (key, value.shape) for key, value in reference.state_dict().items()
    ]
    encoder.load_state_dict(reference.state_dict())
    images = random_images(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(getattr(encoder, mode)()(images), getattr(reference, mode)()(images))
    assert encoder.features == 512


def test_encoders_are_initialised_as_torchvisions() -> None:
    """He initialisation by fan-out, batch norm at scale 1 and shift 0."""
    encoder = build(SimCLR, ModelConfig(stem="imagenet"), 3, 0).encoder
    reference = resnet18(weights=None).state_dict()
    for key, value in encoder.state_dict().items():
        if value.ndim == 4:
            assert value.std().item() == pytest.approx(reference[key].std().item(), rel=0.05)
        else:
            assert torch.equal(value, reference[key])


@pytest.mark.parametrize(
    ("stem", "kernel", "side", "channels"), [("cifar", 3, 32, 3), ("cifar", 3, 28, 1), ("imagenet", 7, 8, 3)]
)
def test_stems_keep_the_image_or_make_a_quarter_of_it(stem: str, kernel: int, side: int, channels: int) -> None:
    encoder = Encoder(ModelConfig(stem=stem), channels).eval()
    sides = []
    encoder.layer1.register_forward_hook(lambda module, inputs, output: sides.append(output.shape[2:]))
    with torch.no_grad():
        h = encoder(random_images(2, channels, 32 if stem == "imagenet" else side, 32 if stem == "imagenet" else side))
    assert h.shape == (2, 512)
    assert sides == [(side, side)]
    assert encoder.conv1.weight.shape == (64, channels, kernel, kernel)


def test_the_small_encoder_has_three_stages_of_one_block() -> None:
    encoder = Encoder(ModelConfig(encoder="resnet_small"), 1)
    assert encoder.features == 128
    blocks = [name for name, module in encoder.named_modules() if type(module).__name__ == "BasicBlock"]
    assert blocks == ["layer1.0", "layer2.0", "layer3.0"]
    assert Encoder(TINY, 1).features == 16


def test_features_are_the_average_over_places() -> None:
    encoder = Encoder(TINY, 3).eval()
    maps = []
    encoder.layer3.register_forward_hook(lambda module, inputs, output: maps.append(output))
    with torch.no_grad():
        h = encoder(random_images(2, 3, 16, 16))
    torch.testing.assert_close(h, nn.AdaptiveAvgPool2d(1)(maps[0]).flatten(1))


# Heads


def test_component_heads_equal_separate_heads() -> None:
    features, components, dim = 6, 4, 3
    wide = ComponentHeads(features, components, dim)
    heads = []
    for m in range(components):
        head = nn.Sequential(nn.Linear(features, features), nn.ReLU(), nn.Linear(features, dim))
        rows = slice(m * features, (m + 1) * features)
        head[0].weight.data, head[0].bias.data = wide.hidden.weight[rows].data, wide.hidden.bias[rows].data
        head[2].weight.data, head[2].bias.data = wide.weight[m].T.data, wide.bias[m].data
        heads.append(head)
    h = random_images(5, features)
    expected = torch.stack([head(h) for head in heads], dim=1)
    torch.testing.assert_close(wide(h), expected)
    assert expected.shape == (5, components, dim)


def test_component_heads_start_as_linear_layers_do() -> None:
    """torch draws an nn.Linear's weight and bias from U(-1/sqrt(F), 1/sqrt(F))."""
    features = 64
    for name, value in ComponentHeads(features, 10, 32).named_parameters():
        assert value.abs().max() <= features**-0.5, name
        assert value.abs().max() > 0.95 * features**-0.5, name
        assert value.std().item() == pytest.approx((features * 3) ** -0.5, rel=0.1), name


def test_heads_are_the_papers() -> None:
    config = ModelConfig()
    simclr, mixture = SimCLR(config, 3), MixtureModel(config, 3)
    for head, outputs in ((simclr.head, 32), (mixture.mixing, 10)):
        assert [type(module) for module in head] == [nn.Linear, nn.ReLU, nn.Linear]
        assert (head[0].in_features, head[0].out_features, head[2].out_features) == (512, 512, outputs)
    heads = sum(value.numel() for value in mixture.components.parameters())
    assert heads == 10 * (512 * 512 + 512 + 512 * 32 + 32)
    assert not any(isinstance(module, nn.BatchNorm1d) for module in [*simclr.modules(), *mixture.modules()])


def test_outputs_have_a_row_an_image() -> None:
    images = random_images(2, 3, 16, 16)
    assert build(SimCLR, TINY, 3, 0)(images).shape == (2, 5)
    mixing, embeddings = build(MixtureModel, TINY, 3, 0)(images)
    assert mixing.shape == (2, 3)
    assert embeddings.shape == (2, 3, 5)


# Building


@both_kinds
def test_weights_depend_on_the_seed_alone(kind: type[SimCLR] | type[MixtureModel]) -> None:
    torch.manual_seed(1)
    first = build(kind, TINY, 3, seed=5).state_dict()
    torch.manual_seed(2)
    assert_same(build(kind, TINY, 3, seed=5).state_dict(), first)
    other = build(kind, TINY, 3, seed=6).state_dict()
    drawn = [key for key, value in first.items() if value.is_floating_point() and value.std() > 0]
    assert len(drawn) >= 12
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


@both_kinds
def test_building_leaves_the_global_generator_as_it_is(kind: type[SimCLR] | type[MixtureModel]) -> None:
    before = torch.get_rng_state()
    build(kind, TINY, 3, seed=5)
    assert torch.equal(torch.get_rng_state(), before)


def test_models_are_channels_last() -> None:
    weight = build(MixtureModel, TINY, 3, 0).encoder.layer1[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)


# From stage 1 to stage 2


def base_and_model() -> tuple[dict[str, Tensor], MixtureModel]:
    base = trained(build(SimCLR, TINY, 3, seed=1))
    return dict(base.state_dict()), build(MixtureModel, TINY, 3, seed=2)


def test_transfer_takes_the_encoder_and_drops_the_head() -> None:
    base, model = base_and_model()
    fresh = {key: value.clone() for key, value in model.state_dict().items()}
    transfer_encoder(model, base)
    state = model.state_dict()
    encoder = [key for key in state if key.startswith("encoder.")]
    assert any(key.endswith("running_mean") for key in encoder)
    assert_same({key: state[key] for key in encoder}, {key: base[key] for key in encoder})
    assert state["encoder.bn1.num_batches_tracked"] == 17
    heads = [key for key in state if key not in encoder]
    assert {key.split(".")[0] for key in heads} == {"components", "mixing"}
    assert all(torch.equal(state[key], fresh[key]) for key in heads)
    base["encoder.bn1.weight"].zero_()
    assert state["encoder.bn1.weight"].abs().sum() > 0


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("encoder.bn1.running_var", r"missing \['bn1.running_var'\], left over nothing$"),
        ("encoder.conv1.weight", r"missing \['conv1.weight'\], left over nothing$"),
    ],
)
def test_transfer_needs_every_key(key: str, message: str) -> None:
    base, model = base_and_model()
    del base[key]
    refuses(model, base, message)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("encoder.layer4.0.conv1.weight", r"missing nothing, left over \['layer4.0.conv1.weight'\]$"),
        ("encoder.fc.weight", r"missing nothing, left over \['fc.weight'\]$"),
        ("fc.weight", r"missing nothing, left over \['fc.weight'\]$"),
        ("header.weight", r"left over \['header.weight'\]$"),
    ],
)
def test_transfer_leaves_no_key_over(key: str, message: str) -> None:
    base, model = base_and_model()
    base[key] = torch.zeros(3)
    refuses(model, base, message)


def test_transfer_needs_equal_shapes() -> None:
    base, model = base_and_model()
    base["encoder.bn1.weight"] = torch.ones(7)
    refuses(model, base, r"bn1.weight has shape \(7,\) instead of \(4,\)$")


def test_transfer_refuses_bare_torchvision_keys() -> None:
    base, model = base_and_model()
    bare = {key.removeprefix("encoder."): value for key, value in base.items()}
    refuses(model, bare, r"missing \['bn1.bias', .*left over \[.*'conv1.weight'")


def test_transfer_refuses_another_encoder() -> None:
    _, model = base_and_model()
    refuses(model, build(SimCLR, ModelConfig(), 3, 0).state_dict(), r"left over \['layer1.1.bn1.bias'")


def refuses(model: AnyModel, base: Mapping[str, Tensor], message: str) -> None:
    """A refusal names the key and changes nothing."""
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"^base encoder does not fit the model: .*" + message):
        transfer_encoder(model, base)
    assert_same(model.state_dict(), before)
