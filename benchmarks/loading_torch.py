"""PyTorch's side of `benchmarks.loading`, for an interpreter that need not have this library.

    python -m benchmarks.loading_torch FOLDER SIZE BATCH

It reads all images once, and then once for each line of standard input.
"""

import json
import os
import sys
import time

from torch.utils.data import DataLoader
from torchvision import datasets, transforms


def main() -> None:
    folder, size, batch = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    form = transforms.Compose([transforms.Resize((size, size)), transforms.ToTensor()])
    loader = DataLoader(
        datasets.ImageFolder(folder, form),
        batch_size=batch,
        shuffle=True,
        num_workers=len(os.sched_getaffinity(0)),
        persistent_workers=True,
    )
    count = sum(len(images) for images, _ in loader)
    print(json.dumps({"images": count, "flags": {}}), flush=True)
    for _ in sys.stdin:
        began = time.perf_counter()
        found = sum(len(images) for images, _ in loader)
        print(json.dumps({"images_per_second": found / (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()
