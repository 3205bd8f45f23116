"""Where training images lie: what comes of a batch is the same everywhere."""

import pytest
import torch

from mixem.data.image_set import Selection
from mixem.placing import Streamed, placed, resident

CPU = torch.device("cpu")


@pytest.fixture
def images() -> Selection:
    """Every other image of two tensors, in another order; their pixels are their number."""
    numbers = torch.arange(40, dtype=torch.uint8)[:, None, None, None].expand(40, 3, 8, 8)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(0)) * 2
    return Selection([numbers[:25].clone(), numbers[25:].clone()], order)


def test_a_selection_gives_its_images_in_its_order(images: Selection) -> None:
    assert images.shape == (20, 3, 8, 8)
    assert images[:][:, 0, 0, 0].tolist() == images.numbers.tolist()
    which = torch.tensor([3, 3, 19, 0])
    assert images[which][:, 2, 7, 7].tolist() == images.numbers[which].tolist()
    assert images[5:7].shape == (2, 3, 8, 8)


def test_a_selection_of_one_tensor_equals_indexing() -> None:
    pixels = torch.randint(0, 256, (30, 1, 8, 8), dtype=torch.uint8)
    which = torch.randperm(30)[:11]
    assert torch.equal(Selection([pixels], torch.arange(30))[which], pixels[which])
    assert torch.equal(Selection.whole(pixels)[4:9], pixels[4:9])


@pytest.mark.parametrize("numbers", [[], [24, 0, 7], [39, 25], [24, 25, 0]])
def test_of_several_tensors_one_alone_is_kept_where_it_holds_all(images: Selection, numbers: list[int]) -> None:
    chosen = Selection.of(images.parts, torch.tensor(numbers, dtype=torch.int64))
    assert chosen[:][:, 0, 0, 0].tolist() == numbers
    assert len(chosen.parts) == (2 if numbers == [24, 25, 0] else 1)


def test_a_batch_is_a_copy() -> None:
    pixels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8)
    Selection.whole(pixels)[:].fill_(1)
    assert not pixels.any()


def test_on_a_cpu_images_stay_where_they_lie(images: Selection) -> None:
    assert placed(images, CPU) is images


def test_resident_and_streamed_images_are_the_same(images: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mixem.placing.PIECE", 3)
    which = torch.tensor([7, 0, 7, 12])
    streamed, copy = Streamed(images, CPU), resident(images, CPU)
    assert len(streamed) == len(copy) == len(images)
    assert streamed.shape == copy.shape == images.shape
    for positions in (which, slice(2, 9)):
        assert torch.equal(streamed[positions], images[positions])
        assert torch.equal(copy[positions], images[positions])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_images_that_a_gpu_does_not_hold_are_streamed_to_it(images: Selection, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda")
    assert isinstance(placed(images, gpu), torch.Tensor)
    monkeypatch.setattr("mixem.placing.RESIDENT_SHARE", 0.0)
    streamed = placed(images, gpu)
    assert isinstance(streamed, Streamed)
    assert streamed.device == CPU
    assert streamed[:].device.type == "cuda"
    assert torch.equal(streamed[:].cpu(), images[:])
