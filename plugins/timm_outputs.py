"""Compute what a network of timm makes of images: ``python timm_outputs.py FOLDER``.

It is the counterpart of ``torchvision_outputs.py``: FOLDER has ``question.json`` and ``images.npy``, and gets
``theirs.safetensors`` and ``outputs.npz``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.numpy import save_file


def main(folder: Path) -> None:
    """Write the weights, and the outputs in inference."""
    question = json.loads((folder / "question.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    network = timm.create_model(question["name"], pretrained=False, **question["arguments"])
    for module in network.modules():  # so that the differences between images are kept, and nothing is as in a new one
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            torch.nn.init.kaiming_normal_(module.weight)
        elif isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.weight, module.running_var):
                torch.nn.init.uniform_(values, 0.5, 1.5)
            for values in (module.bias, module.running_mean):
                torch.nn.init.uniform_(values, -0.1, 0.1)
    save_file({name: value.numpy() for name, value in network.state_dict().items()}, folder / "theirs.safetensors")
    images = torch.from_numpy(np.load(folder / "images.npy").transpose(0, 3, 1, 2))
    with torch.no_grad():
        outputs = network.double().eval()(images).numpy()
    np.savez(folder / "outputs.npz", logits=outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
