"""The batched augmentation against torchvision: the same pixels from the same parameters, the same distributions."""

import math
from itertools import permutations
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare, ks_2samp, kstest
from torch import Tensor
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from mixem import color
from mixem.augment import MAX_PIECE_VALUES, AugmentParameters, SimCLRAugment, normalise, resized_crop
from mixem.color import BRIGHTNESS, CONTRAST, HUE, NO_OPERATION, SATURATION
from mixem.config import AugmentConfig, Config, DataConfig

OFF: dict[str, Any] = {"scale": (1, 1), "flip": 0, "jitter_p": 0, "grayscale": 0, "blur": 0}
ONLY: dict[str, dict[str, Any]] = {
    "crop": {"scale": (0.08, 1)},
    "flip": {"flip": 0.5},
    "brightness": {"jitter_p": 0.8, "jitter": (0.8, 0, 0, 0)},
    "contrast": {"jitter_p": 0.8, "jitter": (0, 0.8, 0, 0)},
    "saturation": {"jitter_p": 0.8, "jitter": (0, 0, 0.8, 0)},
    "hue": {"jitter_p": 0.8, "jitter": (0, 0, 0, 0.5)},
    "jitter": {"jitter_p": 1, "jitter": (1.5, 1.5, 1.5, 0.5)},
    "grayscale": {"grayscale": 0.5},
    "blur 3": {"blur": 0.5, "blur_kernel": 3},
    "blur 9": {"blur": 1, "blur_kernel": 9, "blur_sigma": (0.1, 5)},
    "blur 1": {"blur": 1, "blur_kernel": 1},
}


def make_config(channels: int = 3, size: int = 20, **augment: Any) -> Config:
    mean, std = (0.4, 0.5, 0.6)[:channels], (0.5,) * channels
    data = DataConfig(name="synthetic", channels=channels, image_size=size, mean=mean, std=std)
    return Config(data=data, augment=AugmentConfig(**augment))


def make_images(n: int = 40, channels: int = 3, size: tuple[int, int] = (20, 20), seed: int = 1) -> Tensor:
    """Noise, and a black, a white, a gray and a flat image: the corner cases of the colour operations."""
    images = torch.randint(0, 256, (n, channels, *size), generator=seeded(seed), dtype=torch.uint8)
    images[0], images[1] = 0, 255
    images[2] = images[2, :1]
    images[3] = images[3, :, :1, :1]
    return images


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def torchvision_view(image: Tensor, p: AugmentParameters, k: int, config: Config) -> Tensor:
    """The view of image k, by torchvision's functional operations one after the other."""
    size, kernel = config.data.image_size, config.augment.blur_kernel
    image = tv.to_dtype(image, torch.float32, scale=True)
    image = tv.resized_crop(image, *p.boxes[k].tolist(), [size, size], antialias=False)
    if p.flip is not None and p.flip[k]:
        image = tv.horizontal_flip(image)
    operations = (tv.adjust_brightness, tv.adjust_contrast, tv.adjust_saturation, tv.adjust_hue)
    for operation in p.order[k].tolist():
        if operation != NO_OPERATION:
            image = operations[operation](image, p.factors[k, operation].item())
    if p.gray is not None and p.gray[k]:
        image = tv.rgb_to_grayscale(image, num_output_channels=image.shape[0])
    if p.sigma is not None and p.sigma[k] > 0:
        image = tv.gaussian_blur(image, [kernel, kernel], [p.sigma[k].item()] * 2)
    view: Tensor = tv.normalize(image, config.data.mean, config.data.std)
    return view


def assert_as_torchvision(images: Tensor, parameters: AugmentParameters, config: Config) -> None:
    ours = SimCLRAugment(config).apply(images, parameters)
    theirs = torch.stack([torchvision_view(image, parameters, k, config) for k, image in enumerate(images)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)


# Pixels


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("only", ONLY)
def test_each_operation_equals_torchvisions(only: str, channels: int) -> None:
    config = make_config(channels, **OFF | ONLY[only])
    parameters = SimCLRAugment(config).draw(40, (20, 20), seeded())
    assert_as_torchvision(make_images(channels=channels), parameters, config)


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(20, 20), (28, 45), (50, 21), (9, 13)], ids=str)
def test_the_whole_pipeline_equals_torchvisions(size: tuple[int, int], channels: int) -> None:
    config = make_config(channels, size=20, blur_kernel=5)
    parameters = SimCLRAugment(config).draw(40, size, seeded(2))
    assert_as_torchvision(make_images(channels=channels, size=size), parameters, config)


@pytest.mark.long
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    order=st.permutations(range(4)),
    factors=st.tuples(*[st.floats(0, 3)] * 3, st.floats(-0.5, 0.5)),
    sigma=st.floats(0.05, 10),
    box=st.tuples(*[st.integers(1, 24)] * 2),
)
def test_any_parameters_give_torchvisions_pixels(
    seed: int, order: list[int], factors: tuple[float, ...], sigma: float, box: tuple[int, int]
) -> None:
    config = make_config(size=12)
    height, width = box
    parameters = AugmentParameters(
        boxes=torch.tensor([[(24 - height) // 2, 24 - width, height, width]] * 4),
        flip=torch.tensor([True, False] * 2),
        order=torch.tensor([order] * 4),
        factors=torch.tensor([factors] * 4),
        gray=torch.tensor([False, False, True, False]),
        sigma=torch.tensor([0.0, sigma, sigma, 0.0]),
    )
    assert_as_torchvision(make_images(4, size=(24, 24), seed=seed), parameters, config)


def test_all_24_orders_of_the_jitter_equal_torchvisions() -> None:
    config = make_config(**OFF | ONLY["jitter"])
    orders = torch.tensor(list(permutations((BRIGHTNESS, CONTRAST, SATURATION, HUE))))
    drawn = SimCLRAugment(config).draw(24, (20, 20), seeded(3))
    parameters = AugmentParameters(drawn.boxes, None, orders, drawn.factors, None, None)
    assert_as_torchvision(make_images(24), parameters, config)


def test_every_crop_stays_inside_its_box() -> None:
    """The box is black and all around it white: no white may leak in through the interpolation."""
    images = torch.ones(3, 1, 16, 16)
    boxes = torch.tensor([[3, 4, 5, 6], [0, 0, 1, 1], [15, 0, 1, 16]])
    for image, (top, left, height, width) in zip(images, boxes.tolist(), strict=True):
        image[:, top : top + height, left : left + width] = 0
    assert resized_crop(images, boxes, None, 32).abs().max() < 1e-5


def test_a_crop_no_larger_than_the_view_needs_no_antialiasing() -> None:
    config = make_config(**OFF | ONLY["crop"])
    images = make_images() / 255
    boxes = SimCLRAugment(config).draw(40, (20, 20), seeded()).boxes
    theirs = [tv.resized_crop(x, *box, [20, 20], antialias=True) for x, box in zip(images, boxes.tolist(), strict=True)]
    torch.testing.assert_close(resized_crop(images, boxes, None, 20), torch.stack(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_everything_switched_off_is_plain_normalisation(channels: int) -> None:
    config = make_config(channels, **OFF)
    images = make_images(channels=channels)
    views = SimCLRAugment(config)(images, seeded())
    torch.testing.assert_close(views, normalise(images, config.data), rtol=0, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalise_equals_torchvisions(channels: int) -> None:
    data = make_config(channels).data
    images = make_images(channels=channels)
    before = images.clone()
    theirs = tv.normalize(tv.to_dtype(images, torch.float32, scale=True), data.mean, data.std)
    torch.testing.assert_close(normalise(images, data), theirs)
    assert torch.equal(images, before)


def test_colours_stay_within_the_unit_range() -> None:
    parameters = SimCLRAugment(make_config(jitter=(3, 3, 3, 0.5), jitter_p=1)).draw(40, (20, 20), seeded())
    views = color.color_jitter(make_images() / 255, parameters.order, parameters.factors)
    assert views.min() >= 0
    assert views.max() <= 1


@pytest.mark.parametrize("mask", [torch.zeros(40), torch.arange(40) % 3, torch.ones(40)], ids=["none", "some", "all"])
def test_an_operation_changes_only_the_images_of_its_mask(mask: Tensor) -> None:
    images, mask = make_images() / 255, mask.bool()
    factors = torch.linspace(0.1, 0.4, 40)
    expected = images.clone()
    expected[mask] = color.adjust_hue(images[mask], factors[mask])
    assert torch.equal(color.apply_where(mask, color.adjust_hue, images, factors), expected)


# Independence and determinism


def test_the_same_seed_gives_the_same_bits() -> None:
    augment, images = SimCLRAugment(make_config()), make_images()
    assert torch.equal(augment(images, seeded(5)), augment(images, seeded(5)))


def test_another_seed_gives_other_views() -> None:
    augment, images = SimCLRAugment(make_config()), make_images()
    assert not torch.equal(augment(images, seeded(5)), augment(images, seeded(6)))


def test_a_second_call_with_one_generator_gives_other_views() -> None:
    augment, images, generator = SimCLRAugment(make_config()), make_images(), seeded()
    assert not torch.equal(augment(images, generator), augment(images, generator))


def test_the_global_generator_is_not_used() -> None:
    state = torch.get_rng_state()
    SimCLRAugment(make_config())(make_images(), seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_the_input_images_are_not_changed() -> None:
    images = make_images()
    before = images.clone()
    SimCLRAugment(make_config())(images, seeded())
    assert torch.equal(images, before)


def test_copies_of_one_image_give_different_views() -> None:
    images = make_images()[5:6].expand(64, -1, -1, -1)
    views = SimCLRAugment(make_config())(images, seeded()).flatten(1)
    assert len(views.unique(dim=0)) == 64


@pytest.mark.long
@settings(max_examples=20, deadline=None)
@given(start=st.integers(0, 39), stop=st.integers(0, 40), seed=st.integers(0, 99))
def test_a_view_does_not_depend_on_the_other_images(start: int, stop: int, seed: int) -> None:
    augment, images = SimCLRAugment(make_config()), make_images()
    parameters = augment.draw(40, (20, 20), seeded(seed))
    part = slice(start, stop)
    whole = augment.apply(images, parameters)
    assert torch.equal(augment.apply(images[part], parameters[part]), whole[part])


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
def test_cutting_a_large_batch_in_pieces_changes_no_bit(channels: int) -> None:
    """The whole is cut by `MAX_PIECE_VALUES` into two pieces and a rest, and here into batches that are not cut."""
    n = 2 * MAX_PIECE_VALUES // (channels * 20 * 20) + 7
    augment, images = SimCLRAugment(make_config(channels)), make_images(n, channels)
    parameters = augment.draw(n, (20, 20), seeded())
    batches = [slice(start, start + 101) for start in range(0, n, 101)]
    views = [augment.apply(images[batch], parameters[batch]) for batch in batches]
    assert torch.equal(augment.apply(images, parameters), torch.cat(views))


# Distributions

BOX_CASES = {
    "SimCLR's": ((32, 32), (0.08, 1.0), (3 / 4, 4 / 3)),
    "wide image": ((30, 50), (0.3, 1.0), (3 / 4, 4 / 3)),
    "often too large": ((20, 60), (0.6, 1.0), (3 / 4, 4 / 3)),
    "tall, often too large": ((60, 20), (0.5, 1.0), (3 / 4, 4 / 3)),
    "smaller than a pixel": ((8, 8), (0.001, 0.01), (1 / 9, 9.0)),
}


@pytest.mark.parametrize("case", BOX_CASES)
def test_boxes_lie_inside_the_image(case: str) -> None:
    size, scale, ratio = BOX_CASES[case]
    boxes = SimCLRAugment(make_config(scale=scale, ratio=ratio)).draw(20000, size, seeded()).boxes
    top, left, height, width = boxes.unbind(1)
    assert (torch.stack([top, left, height - 1, width - 1]) >= 0).all()
    assert (top + height).max() <= size[0]
    assert (left + width).max() <= size[1]


@pytest.mark.long
@pytest.mark.parametrize("case", BOX_CASES)
def test_boxes_are_distributed_as_torchvisions(case: str) -> None:
    size, scale, ratio = BOX_CASES[case]
    ours = SimCLRAugment(make_config(scale=scale, ratio=ratio)).draw(20000, size, seeded()).boxes
    image = torch.empty(1, *size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch.tensor([RandomResizedCrop.get_params(image, scale, ratio) for _ in range(3000)])
    for our_values, their_values in zip(box_statistics(ours), box_statistics(theirs), strict=True):
        assert ks_2samp(our_values.numpy(), their_values.numpy()).pvalue > 1e-3


def box_statistics(boxes: Tensor) -> list[Tensor]:
    """Top, left, height and width, area, ratio, and one number that distinguishes all boxes, (N,) each."""
    _, _, height, width = boxes.unbind(1)
    mixed = boxes.float() @ torch.tensor([1.0, math.pi, 7.3, 31.7])
    return [*boxes.unbind(1), height * width, width / height, mixed]


@pytest.mark.parametrize(
    ("size", "ratio", "box"),
    [
        ((20, 90), (3 / 4, 4 / 3), [0, 31, 20, 27]),
        ((90, 20), (3 / 4, 4 / 3), [31, 0, 27, 20]),
        ((20, 22), (0.5, 0.5), [0, 6, 20, 10]),
    ],
)
def test_where_no_candidate_fits_the_box_is_torchvisions_central_one(
    size: tuple[int, int], ratio: tuple[float, float], box: list[int]
) -> None:
    scale = (0.99, 1.0)
    assert list(RandomResizedCrop.get_params(torch.empty(1, *size), scale, ratio)) == box
    boxes = SimCLRAugment(make_config(scale=scale, ratio=ratio)).draw(50, size, seeded()).boxes
    assert boxes.tolist() == [box] * 50


def test_an_image_takes_all_jitter_operations_or_none() -> None:
    takes = SimCLRAugment(make_config()).draw(1000, (20, 20), seeded()).order != NO_OPERATION
    assert torch.equal(takes.all(1), takes.any(1))


def draw_masks(n: int) -> Tensor:
    """Which of n images are mirrored, jittered, turned gray and blurred: (4, n), with p = 0.3, 0.7, 0.15 and 0.4."""
    parameters = SimCLRAugment(make_config(flip=0.3, jitter_p=0.7, grayscale=0.15, blur=0.4)).draw(
        n, (20, 20), seeded()
    )
    assert parameters.flip is not None
    assert parameters.gray is not None
    assert parameters.sigma is not None
    jittered = (parameters.order != NO_OPERATION).all(1)
    return torch.stack([parameters.flip, jittered, parameters.gray, parameters.sigma > 0]).double()


def test_probabilities_are_the_configured_ones() -> None:
    n = 20000
    assert draw_masks(n).mean(1).tolist() == pytest.approx([0.3, 0.7, 0.15, 0.4], abs=4 * 0.5 / n**0.5)


def test_operations_are_drawn_independently_of_each_other() -> None:
    n = 20000
    off_diagonal = draw_masks(n).corrcoef() - torch.eye(4)
    assert off_diagonal.abs().max() < 4 / n**0.5


def test_factors_and_sigmas_are_uniform_in_torchvisions_ranges() -> None:
    config = make_config(jitter=(0.4, 1.8, 0.2, 0.1), blur=1, blur_sigma=(0.5, 1.5))
    parameters = SimCLRAugment(config).draw(20000, (20, 20), seeded())
    assert parameters.sigma is not None
    ranges = [(0.6, 1.4), (0.0, 2.8), (0.8, 1.2), (-0.1, 0.1), (0.5, 1.5)]
    for values, (low, high) in zip([*parameters.factors.unbind(1), parameters.sigma], ranges, strict=True):
        assert values.min() >= low - 1e-6
        assert values.max() <= high + 1e-6
        assert kstest(values.double().numpy(), "uniform", (low, high - low)).pvalue > 1e-3


def test_every_order_is_as_likely_as_the_others() -> None:
    orders = SimCLRAugment(make_config(jitter_p=1)).draw(24000, (20, 20), seeded()).order
    distinct, counts = orders.unique(dim=0, return_counts=True)
    assert distinct.tolist() == [list(order) for order in permutations(range(4))]
    assert chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize(
    ("channels", "jitter", "operations"),
    [
        (3, (0.4, 0, 0, 0.2), {BRIGHTNESS, HUE}),
        (3, (0, 0.4, 0.4, 0), {CONTRAST, SATURATION}),
        (1, (0.4, 0.4, 0.4, 0.2), {BRIGHTNESS, CONTRAST}),
        (1, (0, 0, 0.4, 0.2), set()),
    ],
)
def test_operations_that_change_nothing_are_not_drawn(
    channels: int, jitter: tuple[float, ...], operations: set[int]
) -> None:
    order = SimCLRAugment(make_config(channels, jitter=jitter, jitter_p=1)).draw(200, (20, 20), seeded()).order
    assert order.shape == (200, len(operations))
    assert {tuple(row) for row in order.tolist()} == set(permutations(operations))


def test_operations_that_are_switched_off_have_no_parameters() -> None:
    parameters = SimCLRAugment(make_config(**OFF)).draw(5, (20, 20), seeded())
    assert (parameters.flip, parameters.gray, parameters.sigma) == (None, None, None)
    assert parameters.order.shape == (5, 0)


def test_images_of_one_channel_are_not_turned_gray() -> None:
    assert SimCLRAugment(make_config(1, grayscale=1)).draw(5, (20, 20), seeded()).gray is None


# Devices


@pytest.mark.long
@pytest.mark.parametrize("channels", [1, 3])
def test_compiled_code_gives_the_same_pixels(channels: int) -> None:
    """Traced code computes all images and picks, as a GPU does; the backend "eager" runs the traced operations."""
    augment, images = SimCLRAugment(make_config(channels)), make_images(channels=channels)
    parameters = augment.draw(40, (20, 20), seeded())
    compiled = torch.compile(augment.apply, backend="eager", fullgraph=True, dynamic=False)
    torch.testing.assert_close(compiled(images, parameters), augment.apply(images, parameters), rtol=0, atol=1e-6)


def test_other_devices_than_cpus_read_no_value_back() -> None:
    """Tensors on the meta device have no values: reading one, as `item` or `nonzero` do, raises."""
    augment = SimCLRAugment(make_config())
    views = augment(make_images(6).to("meta"), seeded())
    assert views.shape == (6, 3, 20, 20)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_pixels() -> None:
    augment, images = SimCLRAugment(make_config()), make_images()
    views = augment(images.cuda(), seeded())
    torch.testing.assert_close(views.cpu(), augment(images, seeded()), rtol=0, atol=2e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_nothing_waits_for_cuda() -> None:
    augment, resident = SimCLRAugment(make_config()), make_images().cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        augment(resident, seeded())
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Shapes and refusals

REFUSED = pytest.mark.parametrize(
    "images",
    [torch.zeros(2, 3, 20, 20), torch.zeros(2, 1, 20, 20).byte(), torch.zeros(3, 20, 20).byte()],
    ids=["float", "one channel", "three dimensions"],
)


def test_views_are_contiguous_float32_of_the_configured_size() -> None:
    views = SimCLRAugment(make_config(size=12))(make_images(4, size=(30, 17)), seeded())
    assert (views.shape, views.dtype) == ((4, 3, 12, 12), torch.float32)
    assert views.is_contiguous()


def test_no_images_give_no_views() -> None:
    images = torch.empty(0, 3, 20, 20, dtype=torch.uint8)
    assert SimCLRAugment(make_config())(images, seeded()).shape == (0, 3, 20, 20)


@REFUSED
def test_augmentation_refuses_other_images_than_uint8_batches(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images are \(N, 3, H, W\) uint8, not"):
        SimCLRAugment(make_config())(images, seeded())


@REFUSED
def test_normalise_refuses_other_images_than_uint8_batches(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images are \(N, 3, H, W\) uint8, not"):
        normalise(images, make_config().data)


def test_the_widest_blur_that_a_config_allows_can_be_applied() -> None:
    views = SimCLRAugment(make_config(size=8, blur=1, blur_kernel=15))(make_images(), seeded())
    assert views.isfinite().all()
