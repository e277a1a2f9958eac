"""Images of the benchmark: parts that never overlap, sizes, what is told."""

from __future__ import annotations

import pytest
import torch

from evo.errors import ConfigError
from search_spaces.building.pictures import normalised
from search_spaces.data.fashion_mnist import fashion_mnist
from search_spaces.robot.benchmark.images import averaged, images


def test_the_parts_of_the_shipped_subset_have_no_image_in_common():
    whole = images("shipped", side=28)
    parts = [whole.train, whole.validation, whole.test]
    assert [len(part) for part in parts] == [5_400, 3_000, 1_600]
    kinds = [{hash(image.numpy().tobytes()) for image in part} for part in parts]
    assert sum(map(len, kinds)) == len(set.union(*kinds))


def test_fewer_images_are_the_first_of_more():
    few, more = images("shipped", train=20, validation=10, test=5), images("shipped", train=40)
    assert torch.equal(few.train, more.train[:20])
    assert torch.equal(few.test_labels, more.test_labels[:5])
    assert len(few.validation) == len(few.validation_labels) == 10
    assert "20 train" in few.source
    assert "14 x 14" in few.source


def test_a_pixel_is_the_mean_of_a_square():
    pixels = fashion_mnist("shipped").images[:3]
    expected = normalised(pixels).reshape(3, 1, 14, 2, 14, 2).mean((3, 5))
    torch.testing.assert_close(averaged(normalised(pixels), 14), expected)


def test_classes_are_mixed_from_the_start():
    labels = images("shipped").train_labels[:500]
    assert torch.bincount(labels, minlength=10).min() > 20


@pytest.mark.parametrize(
    ("options", "told"),
    [({"side": 10}, "side 10"), ({"train": 5_401}, "5,400"), ({"validation": 0}, "3,000"), ({"test": -1}, "1,600")],
)
def test_what_does_not_fit_is_told(options, told):
    with pytest.raises(ConfigError, match=told):
        images("shipped", **options)
