"""The three networks of `benchmarks.plain` in PyTorch, in its usual style and the memory format ``channels_last``.

Where TensorFlow pads a convolution unequally on its two sides, both sides get the larger padding here. Outputs and
weights have the same sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from .common import CLASSES, RATES, Widths


def step(
    name: str, size: int, images: Any, labels: Any, *, bfloat16: bool = False, compiled: bool = False
) -> tuple[Callable[[], None], int]:
    """A function that takes one training step with Adam, and the number of parameters of the network.

    Args:
        name: a network's name.
        size: edge length of the images.
        images: float32 array ``(B, size, size, 3)``.
        labels: integer array ``(B,)``.
        bfloat16: compute under PyTorch's autocast for the CPU.
        compiled: compile the network with ``torch.compile``.
    """
    network = {"alexnet": alexnet, "vgg16": vgg16, "inception_v2": inception_v2}[name](size)
    network = network.to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), RATES[name])
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(memory_format=torch.channels_last)
    y = torch.from_numpy(labels).long()

    forward = torch.compile(network) if compiled else network

    def take() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
            loss = nn.functional.cross_entropy(forward(x), y)
        loss.backward()
        optimizer.step()

    # Keras counts the two moving statistics of a normalisation as parameters; PyTorch calls them buffers.
    statistics = sum(buffer.numel() for buffer in network.buffers() if buffer.dim())
    return take, sum(weight.numel() for weight in network.parameters()) + statistics


def alexnet(size: int) -> nn.Module:
    layers: list[nn.Module] = [nn.Conv2d(3, 96, 11, stride=4, padding=4), nn.ReLU()]
    channels = 96
    for filters, kernel, pooled in ((256, 5, True), (384, 3, True), (384, 3, False), (256, 3, True)):
        layers += [nn.Conv2d(channels, filters, kernel, padding=kernel // 2), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if pooled else []
        channels = filters
    return nn.Sequential(*layers, *_classifier(256 * (size // 4 // 8) ** 2))


def vgg16(size: int) -> nn.Module:
    layers: list[nn.Module] = []
    channels = 3
    for filters, convolutions in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU()]
            channels = filters
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *_classifier(512 * (size // 32) ** 2))


def _classifier(features: int) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.Flatten()]
    for _ in range(2):
        layers += [nn.Linear(features, 4096), nn.ReLU(), nn.Dropout(0.5)]
        features = 4096
    return [*layers, nn.Linear(features, CLASSES)]


def inception_v2(size: int) -> nn.Module:
    """Build BN-Inception with each activation before the normalisation."""
    del size  # the global average pooling accepts any
    return nn.Sequential(
        _conv(3, 64, 7, 2),
        nn.MaxPool2d(3, 2, padding=1),
        _conv(64, 64, 1),
        _conv(64, 192, 3),
        nn.MaxPool2d(3, 2, padding=1),
        _block(192, 64, (64, 64), (64, 96), 32),
        _block(256, 64, (64, 96), (64, 96), 64),
        _reduction(320, (128, 160), (64, 96)),
        _block(576, 224, (64, 96), (96, 128), 128),
        _block(576, 192, (96, 128), (96, 128), 128),
        _block(576, 160, (128, 160), (128, 160), 128),
        _block(608, 96, (128, 192), (160, 192), 128),
        _reduction(608, (128, 192), (192, 256)),
        _block(1056, 352, (192, 320), (160, 224), 128),
        _block(1024, 352, (192, 320), (192, 224), 128, nn.MaxPool2d(3, 1, padding=1)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(1024, CLASSES),
    )


class Branches(nn.Module):  # type: ignore[misc]  # torch is not installed where types are checked
    """Parallel branches from one input, with concatenated outputs."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def _block(
    channels: int, single: int, three: Widths, double: Widths, pooled: int, pooling: nn.Module | None = None
) -> nn.Module:
    return Branches(
        _conv(channels, single, 1),
        nn.Sequential(_conv(channels, three[0], 1), _conv(*three, 3)),
        nn.Sequential(_conv(channels, double[0], 1), _conv(*double, 3), _conv(double[1], double[1], 3)),
        nn.Sequential(pooling or nn.AvgPool2d(3, 1, padding=1, count_include_pad=False), _conv(channels, pooled, 1)),
    )


def _reduction(channels: int, three: Widths, double: Widths) -> nn.Module:
    return Branches(
        nn.Sequential(_conv(channels, three[0], 1), _conv(*three, 3, 2)),
        nn.Sequential(_conv(channels, double[0], 1), _conv(*double, 3), _conv(double[1], double[1], 3, 2)),
        nn.MaxPool2d(3, 2, padding=1),
    )


def _conv(channels: int, filters: int, kernel: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel, stride, padding=kernel // 2), nn.ReLU(), nn.BatchNorm2d(filters)
    )
