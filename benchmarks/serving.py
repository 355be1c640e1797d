"""Load a server on this machine: many clients at a time, each with one picture after another.

    cnnreg serve RUN --port 8000
    python -m benchmarks.serving --port 8000 --picture photo.jpg [--clients 16] [--requests 640]

Prints the failed requests, requests per second, and the 50th and 95th percentile of the time from a request to its
answer.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np
import requests

from .common import Facts, begin, save


def load(url: str, picture: bytes, clients: int, total: int) -> Facts:
    """What the clients saw."""
    taken: list[float] = []
    failed = 0
    remaining = iter(range(total))
    lock = threading.Lock()

    def client() -> None:
        nonlocal failed
        session = requests.Session()
        while True:
            with lock:
                if next(remaining, None) is None:
                    return
            began = time.perf_counter()
            try:
                answer = session.post(f"{url}/predict", files={"file": ("a.jpg", picture)}, timeout=120)
                good = answer.ok and bool(answer.json()["predictions"][0]["classes"])
            except requests.RequestException:
                good = False
            with lock:
                taken.append(time.perf_counter() - began)
                failed += not good

    threads = [threading.Thread(target=client) for _ in range(clients)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    return {
        "clients": clients,
        "requests": total,
        "failed": failed,
        "requests_per_second": round(total / seconds, 1),
        "p50_ms": round(1000 * float(np.percentile(taken, 50)), 1),
        "p95_ms": round(1000 * float(np.percentile(taken, 95)), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8000, help="port of the server (default: 8000)")
    parser.add_argument("--picture", type=Path, required=True, help="picture to send")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 16, 64], help="clients at a time")
    parser.add_argument("--requests", type=int, default=640, help="requests in all for each number of clients")
    asked = parser.parse_args()
    url, content = f"http://127.0.0.1:{asked.port}", asked.picture.read_bytes()
    facts: Facts = (
        begin("python -m benchmarks.serving --picture photo.jpg") | requests.get(f"{url}/health", timeout=10).json()
    )
    facts["loads"] = [load(url, content, clients, asked.requests) for clients in asked.clients]
    for row in facts["loads"]:
        print(json.dumps(row))
    save("serving", facts)


if __name__ == "__main__":
    main()
