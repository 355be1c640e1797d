from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnn_registry.data.dataset import ImageDataset
from cnn_registry.data.folder import load_folder
from cnn_registry.data.pipeline.augment import Augmentation
from cnn_registry.data.pipeline.batches import evaluation_batches, reading, steps_per_epoch, training_batches
from cnn_registry.data.pipeline.mix import Mixing
from cnn_registry.data.sources.load import load_images
from cnn_registry.data.sources.loaded import LoadedImages
from cnn_registry.errors import BadImageError, DataError
from cnn_registry.registry.spec import Pixels

FULL = Augmentation(crop_area=(0.3, 1.0), flip=True, brightness=0.2, contrast=0.2, saturation=0.2)


@pytest.fixture
def images(dataset: Callable[..., ImageDataset]) -> LoadedImages:
    return load_images(dataset(7, 5, 6), 6)


def batches(images: LoadedImages, **changes: Any) -> list[Any]:
    settings: dict[str, Any] = {
        "batch_size": 4,
        "epochs": 3,
        "seed": 0,
        "augmentation": Augmentation(),
        "pixels": "unit",
    } | changes
    indices = np.arange(18)[settings.pop("skip", 0) :]
    return list(training_batches(images, indices, **settings).as_numpy_iterator())


def positions(images: LoadedImages, pixels: np.ndarray) -> list[int]:
    """Which images these are."""
    everything = images.source.read(np.arange(18)).astype(np.float32) / np.float32(255)
    return [int(np.flatnonzero((everything == image).all(axis=(1, 2, 3)))[0]) for image in pixels]


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (32, 1), (33, 2), (64, 2), (1088, 34)])
def test_the_last_batch_of_an_epoch_counts_as_a_step(count: int, steps: int) -> None:
    assert steps_per_epoch(count, 32) == steps


def test_each_epoch_has_every_image_once_in_an_order_of_its_own(images: LoadedImages) -> None:
    drawn = batches(images, skip=1)
    assert [len(pixels) for pixels, _ in drawn] == [4, 4, 4, 4, 1] * 3
    seen = [positions(images, pixels) for pixels, _ in drawn]
    epochs = [list(itertools.chain(*seen[start : start + 5])) for start in (0, 5, 10)]
    assert [Counter(epoch) for epoch in epochs] == [Counter(range(1, 18))] * 3
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_labels_are_those_of_the_images_and_one_hot(images: LoadedImages) -> None:
    for pixels, labels in batches(images):
        assert pixels.dtype == labels.dtype == np.float32
        assert labels.shape == (len(pixels), 3)
        assert (labels.sum(axis=1) == 1).all()
        np.testing.assert_array_equal(labels.argmax(axis=1), images.dataset.labels[positions(images, pixels)])


def test_images_have_the_weights_of_their_classes_and_mixed_ones_of_both(images: LoadedImages) -> None:
    weights = np.array([0.5, 1.0, 3.0], np.float32)
    indices = np.arange(18)
    for mixing in (Mixing(), Mixing(mixup=1.0)):
        drawn = training_batches(
            images,
            indices,
            batch_size=4,
            epochs=2,
            seed=0,
            augmentation=Augmentation(),
            pixels="unit",
            mixing=mixing,
            weights=weights,
        )
        for _, labels, weight in drawn.as_numpy_iterator():
            np.testing.assert_allclose(weight, labels @ weights, rtol=1e-6)


def test_weights_of_images_are_multiplied_by_those_of_classes_and_mixed(images: LoadedImages) -> None:
    of_classes, own = np.array([0.5, 1.0, 3.0], np.float32), np.array([2.0, 0.0, 5.0], np.float32)
    weighted = replace(images, dataset=replace(images.dataset, weights=own[images.dataset.labels]))
    for mixing, weights in ((Mixing(), None), (Mixing(), of_classes), (Mixing(cutmix=1.0), of_classes)):
        expected = own if weights is None else own * of_classes
        for _, labels, weight in batches(weighted, mixing=mixing, weights=weights):
            np.testing.assert_allclose(weight, labels @ expected, rtol=1e-6)


def test_balanced_epochs_have_as_many_images_of_each_class(images: LoadedImages) -> None:
    counts = np.bincount(images.dataset.labels)
    assert len(set(counts)) > 1
    drawn = batches(images, sampling="balanced")
    for start in (0, 5, 10):
        labels = np.concatenate([labels for _, labels in drawn[start : start + 5]])
        assert list(labels.sum(axis=0)) == [6, 6, 6]
    again = batches(images, sampling="balanced", first_step=7)
    np.testing.assert_array_equal(drawn[7][0], again[0][0])


def test_augmentation_changes_images_and_neither_their_order_nor_their_labels(images: LoadedImages) -> None:
    for (plain, labels), (varied, same_labels) in zip(batches(images), batches(images, augmentation=FULL), strict=True):
        np.testing.assert_array_equal(labels, same_labels)
        assert varied.shape == plain.shape
        assert not np.allclose(varied, plain)


def test_the_same_seed_repeats_a_training_and_another_does_not(images: LoadedImages) -> None:
    first, again, other = (batches(images, augmentation=FULL, seed=seed) for seed in (3, 3, 4))
    for (pixels, labels), (same_pixels, same_labels) in zip(first, again, strict=True):
        np.testing.assert_array_equal(pixels, same_pixels)
        np.testing.assert_array_equal(labels, same_labels)
    assert not np.allclose(first[0][0], other[0][0])


def test_a_batch_is_the_same_however_many_come_before_it(images: LoadedImages) -> None:
    settings: dict[str, Any] = {"batch_size": 4, "epochs": 3, "seed": 0, "augmentation": FULL, "pixels": "unit"}
    whole = training_batches(images, np.arange(18), **settings)
    expected = list(whole.as_numpy_iterator())[8:]
    for (pixels, _), (skipped_to, _) in zip(expected, whole.skip(8).as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(pixels, skipped_to)


def test_an_image_is_augmented_differently_in_each_epoch(images: LoadedImages) -> None:
    drawn = [batch for batch, _ in batches(images, augmentation=Augmentation(brightness=0.5), batch_size=18)]
    means = [sorted(pixels.mean(axis=(1, 2, 3)).tolist()) for pixels in drawn]
    assert not np.allclose(means[0], means[1])


def test_evaluation_is_in_order_and_as_it_is(images: LoadedImages) -> None:
    indices = np.array([17, 3, 3, 0, 8])
    drawn = list(evaluation_batches(images, indices, batch_size=2, pixels="unit").as_numpy_iterator())
    assert [len(pixels) for pixels, _ in drawn] == [2, 2, 1]
    assert positions(images, np.concatenate([pixels for pixels, _ in drawn])) == indices.tolist()
    np.testing.assert_array_equal(
        np.concatenate([labels for _, labels in drawn]).argmax(axis=1), images.dataset.labels[indices]
    )


def test_pixels_are_scaled_as_the_network_wants_them(images: LoadedImages) -> None:
    raw = images.source.read(np.arange(18)).astype(np.float32)
    mean, deviation = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    ranges: dict[Pixels, np.ndarray] = {
        "unit": raw / 255,
        "signed": raw / 127.5 - 1,
        "imagenet": (raw / 255 - mean) / deviation,
        "caffe": raw[..., ::-1] - [103.939, 116.779, 123.68],
    }
    for pixels, expected in ranges.items():
        ((batch, _),) = evaluation_batches(images, np.arange(18), batch_size=18, pixels=pixels).as_numpy_iterator()
        np.testing.assert_allclose(batch, expected, rtol=1e-6, atol=1e-5)


def test_shapes_and_length_are_known_beforehand(images: LoadedImages) -> None:
    training = training_batches(images, np.arange(18), batch_size=4, epochs=3, seed=0, augmentation=FULL, pixels="unit")
    evaluation = evaluation_batches(images, np.arange(18), batch_size=4, pixels="unit")
    assert (int(training.cardinality()), int(evaluation.cardinality())) == (15, 5)
    for batches_of in (training, evaluation):
        assert [spec.shape.as_list() for spec in batches_of.element_spec] == [[None, 6, 6, 3], [None, 3]]


def test_sizes_follow_each_other_in_equal_shares(images: LoadedImages) -> None:
    training = training_batches(
        images, np.arange(18), batch_size=9, epochs=4, seed=0, augmentation=FULL, pixels="unit", sizes=(4, 8)
    )
    assert [pixels.shape for pixels, _ in training.as_numpy_iterator()] == 4 * [(9, 4, 4, 3)] + 4 * [(9, 8, 8, 3)]
    assert training.element_spec[0].shape.as_list() == [None, None, None, 3]


def test_a_size_without_augmentation_is_the_image_made_smaller(images: LoadedImages) -> None:
    ((smaller, labels),) = training_batches(
        images, np.arange(18), batch_size=18, epochs=1, seed=0, augmentation=Augmentation(), pixels="unit", sizes=(3,)
    ).as_numpy_iterator()
    ((whole, same),) = training_batches(
        images, np.arange(18), batch_size=18, epochs=1, seed=0, augmentation=Augmentation(), pixels="unit"
    ).as_numpy_iterator()
    assert smaller.shape == (18, 3, 3, 3)
    np.testing.assert_array_equal(labels, same)
    np.testing.assert_allclose(smaller[:, 0, 0], whole[:, 0, 0], atol=1e-6)  # corners stay where they are


def test_images_may_be_mixed_only_once_the_network_knows_something(images: LoadedImages) -> None:
    plain, mixed = batches(images), batches(images, mixing=Mixing(mixup=1.0, since=1 / 3, until=2 / 3))
    changed = [not np.array_equal(pixels, others) for (pixels, _), (others, _) in zip(plain, mixed, strict=True)]
    assert changed == [False] * 5 + [True] * 5 + [False] * 5, "the second epoch of three"


def test_images_are_mixed_in_pairs_until_the_last_epochs(images: LoadedImages) -> None:
    plain, mixed = batches(images), batches(images, mixing=Mixing(mixup=1.0, until=0.5))
    blended = [not np.array_equal(labels, others) for (_, labels), (_, others) in zip(plain, mixed, strict=True)]
    changed = [not np.array_equal(pixels, others) for (pixels, _), (others, _) in zip(plain, mixed, strict=True)]
    assert changed == [True] * 10 + [False] * 5, "the first two epochs of three begin before the half"
    assert blended[10:] == [False] * 5
    assert any(blended[:10])
    for _, labels in mixed:
        np.testing.assert_allclose(labels.sum(axis=1), 1, rtol=1e-6)


def test_a_mixed_batch_is_the_same_however_many_come_before_it(images: LoadedImages) -> None:
    mixing = Mixing(mixup=0.2, cutmix=1.0)
    everything, rest = batches(images, mixing=mixing), batches(images, mixing=mixing, first_step=7)
    for one, same in zip(everything[7:], rest, strict=True):
        np.testing.assert_array_equal(one[0], same[0])
        np.testing.assert_array_equal(one[1], same[1])


@pytest.mark.parametrize("damage", ["gone", "truncated", "a folder"])
def test_a_streamed_image_that_goes_bad_is_reported_by_its_name_in_one_line(
    folder: Callable[..., Path], damage: str
) -> None:
    root = folder(*(f"{name}/{number}.png" for name in "ab" for number in range(4)))
    images = load_images(load_folder(root), 8, memory_limit=0)
    read = evaluation_batches(images, np.arange(8), batch_size=4, pixels="unit")
    with reading(images):
        assert len(list(read)) == 2
    bad = root / "b" / "2.png"
    content = bad.read_bytes()
    bad.unlink()
    if damage == "truncated":
        bad.write_bytes(content[:100])
    elif damage == "a folder":
        bad.mkdir()
    for _ in range(2):  # the second time is not confused by the first
        with (
            pytest.raises(BadImageError, match=r"b/2\.png cannot be read as an image: [\w ]+\.$") as caught,
            reading(images),
        ):
            list(read)
        assert "\n" not in str(caught.value)
    with reading(images):
        assert len(list(evaluation_batches(images, np.arange(4), batch_size=4, pixels="unit"))) == 1


def test_other_errors_of_the_pipeline_stay_as_they_are(images: LoadedImages) -> None:
    from tensorflow import errors

    wrong = evaluation_batches(images, np.array([99]), batch_size=4, pixels="unit")
    with pytest.raises(errors.OpError, match="out of bounds"), reading(images):
        list(wrong)


def test_a_batch_larger_than_the_memory_is_refused_at_once(dataset: Callable[..., ImageDataset]) -> None:
    images = load_images(dataset(4, 4), 4000, memory_limit=0)
    pattern = (
        r"^A batch of 100000 images of 4000x4000 pixels takes 24,000\.0 GB; .* smaller image_size or batch_size\.$"
    )
    with pytest.raises(DataError, match=pattern):
        batches(images, batch_size=100_000)
    evaluation_batches(images, np.arange(8), batch_size=100_000, pixels="unit")  # there are no more than 8
