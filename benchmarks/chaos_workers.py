"""Disturb the workers of a training at random moments, and test that the others end and the result is the same.

    python -m benchmarks.chaos_workers --faults 20

Three workers train LeNet-5 on handwritten digits, each in a network namespace of its own where the machine allows that
(Linux, as root), else on the local address, where no link is cut and no disk filled. Worker 0 is the chief.
At each fault, all workers that are left have to end with one line within a minute; then all are started again with
``--resume auto``. A training that comes to its end is compared, bit for bit, with one that was not disturbed, and the
next one begins.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from importlib import metadata, util
from pathlib import Path

from benchmarks.chaos import differences, latest_step, only_run
from benchmarks.namespaces import Network, Odd, listens, mounted, network, started
from cnn_registry.runs.machine import machine, versions
from cnn_registry.runs.record import ENDED
from cnn_registry.system.progress import note

RESULT = Path(__file__).parent / "results" / "chaos_workers.json"

WITHIN = 60.0
"""Seconds within which the others have to end."""

WORKERS = 3

DISK = "32m"
"""The size of the disk that runs are written to, so that it is soon full."""

KINDS = (
    "worker killed",
    "worker hangs",
    "worker cut off",
    "chief killed",
    "chief hangs",
    "chief cut off",
    "worker with another version of the plugin",
    "worker with other images",
    "chief's disk full",
    "worker's disk full",
)

SINCE = ("training", "joining")
"""Each kind is done in a training that has begun, then in one whose workers join each other or prepare."""

TRAINS = re.compile(" into | resumes in ")
"""The chief's line before the first step."""

NEED_ROOT = ("cut off", "other images", "full")
"""Kinds that need network namespaces or mounts."""


@dataclass(frozen=True)
class Place:
    """The folders of a test.

    Attributes:
        folder: holds all others.
        disk: where disturbed runs are written.
    """

    folder: Path
    disk: Path

    @property
    def images(self) -> Path:
        """The digits as files."""
        return self.folder / "images"

    @property
    def other_images(self) -> Path:
        """The same, of which one is different."""
        return self.folder / "other images"

    @property
    def filler(self) -> Path:
        """What fills the disk."""
        return self.disk / "filler"


@dataclass
class Fault:
    """One fault and what came of it.

    Attributes:
        kind: one of `KINDS`.
        victim: the worker that it happened to.
        since: what it was waited for before: ``"joining"``, when the workers begin to join each other, or
            ``"training"``.
        moment: seconds after that; 0 for what is wrong from the start.
        step: of the latest checkpoint then.
        seconds: until the last of the others had ended.
        codes: exit codes of those that ended by themselves, by worker; ``None`` for one that did not.
        lines: the last error line of each.
    """

    kind: str
    victim: int
    since: str
    moment: float = 0.0
    step: int = 0
    seconds: float = 0.0
    codes: dict[int, int | None] = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)

    @property
    def is_clear(self) -> bool:
        """Whether all that were left ended in time, each with one line; a worker that writes nothing trains on."""
        if self.kind == "worker's disk full":
            return all(code in (0, 143) for code in self.codes.values())
        lines = all(line.startswith("Error:") for line in self.lines.values())
        return self.seconds <= WITHIN and all(self.codes.values()) and lines


class Disturbed:
    """A training of several workers that is disturbed and resumed.

    Args:
        where: the workers' network.
        place: the folders.
        command: of the training, without ``--out``.
        seconds: the maximum between the connection of the workers and a fault.
        seed: of the moments and victims.
    """

    def __init__(self, where: Network, place: Place, command: Sequence[str], seconds: float, seed: int) -> None:
        self._where, self._place, self._command, self._seconds = where, place, command, seconds
        self._random, self._port, self._number = random.Random(seed), 23000, 0

    @property
    def out(self) -> Path:
        """Where the current run is written."""
        return self._place.disk / str(self._number)

    def undisturbed(self) -> Path:
        """Train to the end, and return where the run is; the next training begins elsewhere."""
        processes, out = self._start(None), self.out
        if any(process.wait() for process in processes):
            raise SystemExit(f"Training failed: {self._log(0)}")
        self._number += 1
        return out

    def finished(self) -> Path | None:
        """Where the current run is, if it has come to its end; the next training begins elsewhere."""
        out = self.out
        if not list(out.glob("*/run.json")) or only_run(out).record.status not in ENDED:
            return None
        self._number += 1
        return out

    def disturb(self, kind: str, since: str) -> Fault | None:
        """Start or resume the training, and do a fault; ``None`` where it ends before that."""
        chief = kind.startswith("chief")
        fault = Fault(kind, 0 if chief else self._random.randrange(1, WORKERS), since)
        odd = self._odd(fault)
        processes = self._start(odd)
        try:
            self._await_joining(processes)
            while since == "training" and not odd and not TRAINS.search(self._log(0)):
                if processes[0].poll() is not None:
                    raise SystemExit(f"Training ended before a fault: {self._log(0)}")
                time.sleep(0.1)
            fault.moment = 0.0 if odd else round(self._random.uniform(0, self._seconds), 1)
            time.sleep(fault.moment)
            if all(process.poll() == 0 for process in processes):
                return None
            fault.step = latest_step(self.out)
            self._do(fault, processes)
        finally:
            for process in processes:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        fault.lines = {number: self._error(number) for number in fault.codes}
        self._place.filler.unlink(missing_ok=True)
        if kind.endswith("cut off"):
            self._where.link(fault.victim, "up")
        return fault

    def _start(self, odd: Odd | None) -> list[subprocess.Popen[str]]:
        self._port += WORKERS
        command = [*self._command, "--out", str(self.out)]
        return started(self._where, WORKERS, command, self._place.folder, self._port, odd)

    def _odd(self, fault: Fault) -> Odd | None:
        """What is wrong with the victim from the start."""
        place = self._place
        if "plugin" in fault.kind:
            paths = [str(other_plugin(place.folder / "plugin")), *filter(None, [os.environ.get("PYTHONPATH")])]
            return Odd(fault.victim, {"PYTHONPATH": os.pathsep.join(paths)})
        if "images" in fault.kind:
            change_one(place, self._random)
            return Odd(fault.victim, before=mounted(f"mount --bind '{place.other_images}' '{place.images}'"))
        if fault.kind == "worker's disk full":
            cache = place.folder / "cache"
            full = f"mount -t tmpfs -o size=64k tmpfs '{cache}'; head -c 64k /dev/zero > '{cache}/filler' || true"
            return Odd(fault.victim, before=mounted(full))
        return None

    def _await_joining(self, processes: Sequence[subprocess.Popen[str]]) -> None:
        """Wait until the processes listen to each other."""
        waiting = dict(enumerate(processes))
        while waiting:
            time.sleep(0.05)
            for number, process in list(waiting.items()):
                if process.poll() is not None:
                    raise SystemExit(f"Worker {number} ended before a fault: {self._log(number)}")
                if listens(process.pid, self._port + number):
                    del waiting[number]

    def _do(self, fault: Fault, processes: Sequence[subprocess.Popen[str]]) -> None:
        """Do a fault, and wait for those that are left."""
        victim, others = processes[fault.victim], dict(enumerate(processes))
        began = time.monotonic()
        if fault.kind.endswith("killed"):
            del others[fault.victim]
            victim.send_signal(signal.SIGKILL)
        elif fault.kind.endswith("hangs"):
            del others[fault.victim]
            victim.send_signal(signal.SIGSTOP)
        elif fault.kind.endswith("cut off"):
            self._where.link(fault.victim, "down")
        elif fault.kind == "chief's disk full":
            fill(self._place.filler)
        elif fault.kind == "worker's disk full":
            self._trains_on(fault.step)
            victim.send_signal(signal.SIGTERM)
        fault.codes = {number: _ended(process, began) for number, process in others.items()}
        fault.seconds = round(time.monotonic() - began, 1)
        if fault.kind.endswith("hangs") and fault.step:  # it finds itself alone when it wakes
            victim.send_signal(signal.SIGCONT)
            fault.codes[fault.victim] = _ended(victim, time.monotonic())

    def _trains_on(self, step: int) -> None:
        """Wait for a checkpoint."""
        until = time.monotonic() + WITHIN
        while time.monotonic() < until and latest_step(self.out) in (0, step):
            time.sleep(0.1)

    def _log(self, number: int) -> str:
        return (self._place.folder / f"log-{number}").read_text()

    def _error(self, number: int) -> str:
        errors = [line for line in self._log(number).splitlines() if line.startswith("Error:")]
        return errors[-1].replace(str(self._place.folder), "") if errors else ""


def _ended(process: subprocess.Popen[str], began: float) -> int | None:
    """The exit code, or ``None`` where it takes twice as long as it may."""
    try:
        return process.wait(timeout=max(0.1, began + 2 * WITHIN - time.monotonic()))
    except subprocess.TimeoutExpired:
        return None


def fill(file: Path) -> None:
    """Write until the disk is full."""
    with suppress(OSError), file.open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))


def write_images(folder: Path) -> None:
    """Write the handwritten digits as files, in one folder for each class."""
    from PIL import Image

    from cnn_registry.data.loading import load_dataset

    dataset = load_dataset("digits", None)
    for number, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        file = folder / str(label) / f"{number:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)


def change_one(place: Place, rng: random.Random) -> None:
    """Make a copy of the images in which one is turned upside down, has another label, or is missing."""
    from PIL import Image

    shutil.rmtree(place.other_images, ignore_errors=True)
    shutil.copytree(place.images, place.other_images)
    file = rng.choice(sorted(place.other_images.glob("*/*.png")))
    match rng.choice(("turned", "moved", "missing")):
        case "turned":
            with Image.open(file) as image:
                turned = image.transpose(Image.Transpose.ROTATE_180)
            turned.save(file)
        case "moved":
            file.rename(place.other_images / str((int(file.parent.name) + 1) % 10) / file.name)
        case _:
            file.unlink()


def other_plugin(folder: Path) -> Path:
    """A folder with the plugin of LeNet-5 as another version of it."""
    shutil.rmtree(folder, ignore_errors=True)
    spec = util.find_spec("cnnreg_lenet")
    [code] = (spec and spec.submodule_search_locations) or [""]
    shutil.copytree(code, folder / "cnnreg_lenet", ignore=shutil.ignore_patterns("__pycache__"))
    found = metadata.distribution("cnnreg-lenet")
    info = folder / "cnnreg_lenet-9.9.dist-info"
    info.mkdir()
    described = found.read_text("METADATA") or ""
    (info / "METADATA").write_text(described.replace(f"\nVersion: {found.version}\n", "\nVersion: 9.9\n"))
    (info / "entry_points.txt").write_text(found.read_text("entry_points.txt") or "")
    return folder


@contextmanager
def disk(folder: Path, where: Network) -> Iterator[Path]:
    """A small disk for runs, where the machine allows that."""
    folder.mkdir()
    if not where.names:
        yield folder
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def main() -> None:
    """Run all faults and write ``benchmarks/results/chaos_workers.json``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=20)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=8.0, help="maximum seconds from the start to a fault")
    parser.add_argument("--only", default="", help="do only faults of the kinds that contain this")
    parser.add_argument("--out", type=Path, default=RESULT)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that namespaces and mounts are removed
    settings = {"batch_size": 128, "image_size": 32, "ema": 1, "deterministic": "true", "epochs": arguments.epochs}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cnnreg-chaos-")))
        where = stack.enter_context(network(WORKERS))
        place = Place(folder, stack.enter_context(disk(folder / "runs", where)))
        write_images(place.images)
        (folder / "cache").mkdir()
        os.environ["CNNREG_CACHE"] = str(folder / "cache")
        command = [sys.executable, "-m", "cnn_registry", "train", "lenet5", "--data", str(place.images)]
        command += ["--resume", "auto", "--checkpoint-minutes", "0.02"]
        command += [part for item in settings.items() for part in ("--set", f"{item[0]}={item[1]}")]
        kinds = [kind for kind in KINDS if where.names or not any(word in kind for word in NEED_ROOT)]
        kinds = [kind for kind in kinds if arguments.only in kind]
        training = Disturbed(where, place, command, arguments.seconds, seed=0)
        alone = only_run(training.undisturbed())
        faults: list[Fault] = []
        ends: list[list[str]] = []
        while len(faults) < arguments.faults:
            done = training.disturb(kinds[len(faults) % len(kinds)], SINCE[len(faults) // len(kinds) % 2])
            if done:
                faults.append(done)
                note(f"{len(faults)}: {'clear' if done.is_clear else 'NOT CLEAR'}: {asdict(done)}")
            if out := training.finished():
                ends.append(differences(alone, only_run(out)))
                note(f"A disturbed training ended; different: {ends[-1] or 'nothing'}")
                shutil.rmtree(out)
        ends.append(differences(alone, only_run(training.undisturbed())))
    result = {
        "command": " ".join(["python", "-m", "benchmarks.chaos_workers", *sys.argv[1:]]),
        "training": " ".join(["cnnreg", *command[3:]]).replace(str(folder), ""),
        "versions": versions(),
        "machine": machine(),
        "workers": WORKERS,
        "namespaces": bool(where.names),
        "faults": [asdict(fault) | {"clear": fault.is_clear} for fault in faults],
        "differences": ends,
    }
    arguments.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    clear = sum(fault.is_clear for fault in faults)
    note(f"{len(faults)} faults, {clear} ended clearly; {len(ends)} trainings ended, {sum(map(bool, ends))} otherwise")
    if clear < len(faults) or any(ends):
        sys.exit(1)


if __name__ == "__main__":
    main()
