"""Compute what a network of torchvision makes of images: ``python torchvision_outputs.py FOLDER``.

It runs in its own process: builds of PyTorch with Triton cannot be imported into one that has TensorFlow. FOLDER has
``question.json`` and ``images.npy``, and gets ``theirs.pth`` and ``outputs.npz``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision


def main(folder: Path) -> None:
    """Write the weights, and the outputs in inference and in training."""
    question = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    network = make(question["name"], **question["arguments"])
    torch.save(network.state_dict(), folder / "theirs.pth")
    images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2))
    outputs = {}
    with torch.no_grad():
        for training in (False, True):
            for name, output in named(network.double().train(training)(images)).items():
                outputs[f"{training} {name}"] = output.numpy()
    np.savez(folder / "outputs.npz", **outputs)


def make(name: str, **arguments: Any) -> torch.nn.Module:
    """A network whose weights keep the differences between images, which PyTorch's own initial values nearly lose.

    The statistics, scales and shifts of its normalisations are not those of a new layer.
    """
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, **arguments)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.1, 0.1)
    return network


def named(output: Any) -> dict[str, torch.Tensor]:
    """The outputs by name: the one of a plain network is ``"logits"``, as in those with auxiliary heads."""
    return {"logits": output} if isinstance(output, torch.Tensor) else output._asdict()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
