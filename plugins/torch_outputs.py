"""Compute what a network of torchvision or timm makes of images: ``python torch_outputs.py FOLDER``.

It runs in its own process: builds of PyTorch with Triton cannot be imported into one that has TensorFlow. FOLDER has
``question.json`` and ``images.npy``, and gets ``outputs.npz`` and the weights: ``theirs.pth`` of torchvision,
``theirs.safetensors`` of timm.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch


def main(folder: Path) -> None:
    """Write the weights, and the outputs in inference and in training."""
    question = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    network = MAKERS[question["library"]](question["name"], **question["arguments"])
    vary(network)
    if question["library"] == "timm":
        from safetensors.numpy import save_file

        save_file({name: value.numpy() for name, value in network.state_dict().items()}, folder / "theirs.safetensors")
    else:
        torch.save(network.state_dict(), folder / "theirs.pth")
    images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2))
    outputs = {}
    with torch.no_grad():
        for training in (False, True):
            for name, output in named(network.double().train(training)(images)).items():
                outputs[f"{training} {name}"] = output.numpy()
    np.savez(folder / "outputs.npz", **outputs)


def of_torchvision(name: str, **arguments: Any) -> torch.nn.Module:
    """A network of torchvision with random weights."""
    import torchvision

    network: torch.nn.Module = torchvision.models.get_model(name, weights=None, **arguments)
    return network


def of_timm(name: str, **arguments: Any) -> torch.nn.Module:
    """A network of timm with random weights."""
    import timm

    network: torch.nn.Module = timm.create_model(name, pretrained=False, **arguments)
    return network


MAKERS = {"torchvision": of_torchvision, "timm": of_timm}


def vary(network: torch.nn.Module) -> None:
    """Give a network weights that keep the differences between images, which PyTorch's own initial values nearly lose.

    The statistics, scales and shifts of its normalisations are not those of a new layer.
    """
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.1, 0.1)


def named(output: Any) -> dict[str, torch.Tensor]:
    """The outputs by name: the one of a plain network is ``"logits"``, as in those with auxiliary heads."""
    return {"logits": output} if isinstance(output, torch.Tensor) else output._asdict()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
