"""Classes of very different sizes: weights for their images, and an order in which all classes are equally frequent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .dataset import Indices

ClassWeights = Literal["none", "balanced", "effective"]
Sampling = Literal["shuffled", "balanced"]


def class_weights(
    labels: NDArray[np.integer[Any]], num_classes: int, kind: ClassWeights, beta: float
) -> NDArray[np.float32]:
    """What the loss of an image of each class is multiplied by; over all training images the mean is 1.

    Args:
        labels: of the training images.
        num_classes: number of classes; one without images gets the weight 1.
        kind: ``"none"`` for 1; ``"balanced"`` for the inverse of a class's number of images; ``"effective"`` for the
            inverse of its effective number, which grows ever more slowly (Cui et al. 2019,
            https://arxiv.org/abs/1901.05555, equation 2).
        beta: of the effective number, from 0 for ``"none"`` to just below 1 for ``"balanced"``.

    Returns:
        float32 ``(num_classes,)``.
    """
    import numpy as np  # not above: recipes are listed without it

    counts = np.bincount(labels, minlength=num_classes).astype(float)
    if kind == "none":
        return np.ones(num_classes, np.float32)
    numbers = counts if kind == "balanced" else (1 - beta**counts) / (1 - beta)
    weights = np.divide(1.0, numbers, out=np.zeros(num_classes), where=counts > 0)
    weights *= counts.sum() / (weights * counts).sum()
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


def epoch_order(
    indices: Indices, labels: NDArray[np.integer[Any]], sampling: Sampling, seed: tuple[int, int]
) -> Indices:
    """The training images of an epoch in their order, as many as there are.

    Args:
        indices: the training images.
        labels: of all images.
        sampling: ``"shuffled"`` for each image once; ``"balanced"`` for as many images of each class, those of small
            classes several times and not all of large ones.
        seed: of the whole training, and the epoch: the same numbers give the same order.
    """
    import numpy as np  # as above

    random = np.random.default_rng(seed)
    if sampling == "shuffled":
        return indices[random.permutation(len(indices))]
    of_class = labels[indices]
    present = np.unique(of_class)
    share, rest = divmod(len(indices), len(present))
    # Which classes get an image more changes from epoch to epoch.
    counts = share + (random.permutation(len(present)) < rest)
    drawn = []
    for label, count in zip(present, counts, strict=True):
        own = indices[of_class == label]
        rounds = [random.permutation(own) for _ in range(-(-int(count) // len(own)))]
        drawn.append(np.concatenate(rounds)[:count] if rounds else own[:0])
    return random.permutation(np.concatenate(drawn))
