"""What several workers of one training agree on before they begin."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from cnn_registry.backend.cluster import find_cluster
from cnn_registry.backend.strategy import ALONE, Distribute, Distribution
from cnn_registry.data.sources.loaded import digest_of_names
from cnn_registry.errors import UsageError
from cnn_registry.recipes.resolution import leaves
from cnn_registry.runs.machine import versions
from cnn_registry.runs.record import RunRecord
from cnn_registry.runs.run import FollowedRun, Run
from cnn_registry.training.fit import Fit

from .plan import Plan


def fitting(found: Distribution, plan: Plan) -> Distribution:
    """The distribution, if it can train the plan.

    Raises:
        UsageError: it cannot.
    """
    if found.is_alone:
        return ALONE
    if plan.recipe.time_limit:
        raise UsageError("time_limit is for one device, as the clocks of several differ; leave it out, or set epochs.")
    if plan.recipe.accumulate > 1 and found.kind == "mirrored":
        raise UsageError(
            "accumulate is not for --distribute mirrored; start one process for each GPU, or leave it out."
        )
    if plan.recipe.batch_size < found.replicas.of:
        raise UsageError(
            f"batch_size={plan.recipe.batch_size} is less than one image for each of {found.replicas.of} replicas; "
            f"set a larger one."
        )
    return found


def refuse_workers(what: str, distribute: Distribute) -> None:
    """Refuse to do in each of several workers what one process does.

    Raises:
        UsageError: this process is one of several workers, or several replicas were asked for.
    """
    if distribute not in ("auto", "none"):
        raise UsageError(f"{what} runs in one process; remove --distribute {distribute}.")
    found = find_cluster()
    if distribute == "auto" and found and len(found.addresses) > 1:
        raise UsageError(f"{what} runs in one process; start it outside the cluster that TF_CONFIG or SLURM describes.")


def check_same(found: Distribution, plan: Plan, fit: Fit) -> None:
    """Compare what the workers would train.

    Raises:
        UsageError: they would train something else; the same error in all of them.
    """
    if found.is_alone:
        return
    provider = plan.spec.provider
    split = plan.parts.model_dump_json().encode()
    mine = {
        f"version of {provider.distribution}": provider.version,
        "network": fit.fingerprint,
        "images": "" if plan.images.evaluation.is_of_names else plan.data.digest,
        "list of images": digest_of_names(plan.images.evaluation.dataset),
        "classes": ", ".join(plan.data.class_names),
        "split": hashlib.sha256(split).hexdigest()[:12],
        **{f"version of {name}": version for name, version in versions().items()},
        **{f"setting {name}": str(value) for name, value in leaves(plan.recipe.to_dict())},
    }
    everyone = found.all_gather(mine)
    for rank, theirs in enumerate(everyone):
        for name in dict.fromkeys([*everyone[0], *theirs]):
            ours, other = everyone[0].get(name), theirs.get(name)
            if ours != other and not (name == "images" and "" in (ours, other)):  # not read yet
                said = f": {other:.40} there, {ours:.40} in worker 0" if other and ours else ""
                verb = "are" if name in ("images", "classes") else "is"
                raise UsageError(
                    f"The workers do not train the same: the {name} of worker {rank} {verb} different{said}. Nothing "
                    f"was trained."
                )


def created(found: Distribution, out: Path, record: RunRecord) -> Run:
    """The new run that the chief writes; in the other workers, one that follows it."""
    made: list[Run] = []

    def create() -> str:
        made.append(Run.create(out, record))
        return str(made[0].path)

    path = found.broadcast_from_chief(create)
    return made[0] if made else FollowedRun(Path(path), record)


@contextmanager
def opened(found: Distribution, path: Path) -> Iterator[Run]:
    """The run that the chief resumes, which is locked; in the other workers, one that follows it.

    Raises:
        RunError: it cannot be read, or another process trains in it.
    """
    with ExitStack() as stack:

        def record() -> str:
            stack.enter_context(Run.open(path).locked())
            return Run.open(path).record.model_dump_json()  # as it is now that no other process can change it

        text = found.broadcast_from_chief(record)
        kind = Run if found.is_chief else FollowedRun
        yield kind(path, RunRecord.model_validate_json(text))
