"""Send a run to a repository of a hub, in one commit, without losing anything that is there."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from cnn_registry.errors import HubError, RunError, UsageError
from cnn_registry.runs.run import Run, load_run
from cnn_registry.system.arguments import checked_arguments
from cnn_registry.system.files import read_regular
from cnn_registry.system.hub import (
    UPLOAD_RATE,
    UPLOAD_SECONDS,
    Address,
    Contents,
    asked,
    contents_of,
    has_token,
    hub_address,
    need_hub,
)
from cnn_registry.system.progress import note, working
from cnn_registry.text import counted, listing

from .card import UNKNOWN
from .files import MANIFEST, write_files

if TYPE_CHECKING:
    from huggingface_hub import HfApi

OF_THE_HUB = (".gitattributes",)
"""Files that a hub writes by itself."""

MAX_MANIFEST = 2**20
"""The largest manifest that is read."""


@dataclass(frozen=True)
class Pushed:
    """What was sent.

    Attributes:
        address: ``"hf://user/name@commit"``, which names exactly this.
        commit: the commit's name.
        url: the commit's page.
        files: the files' sizes in bytes, by name.
        replaced: those of them that the repository had before.
        removed: files of an earlier push that this one does not have.
    """

    address: str
    commit: str
    url: str
    files: dict[str, int]
    replaced: tuple[str, ...]
    removed: tuple[str, ...]


@checked_arguments
@working("Pushing")
def push(
    run: Run | str | Path,
    to: str,
    *,
    private: bool = False,
    revision: str | None = None,
    license: str | None = None,
    force: bool = False,
) -> Pushed:
    """Publish a run in a repository of the Hugging Face hub, from which `load_run` loads it.

    Sent are the best weights as safetensors, the record, the recipe, the network as JSON, how pictures are prepared,
    the figures and curves, and a card (``README.md``) that describes all this. Images are not sent, but the names of
    their files are in the record. The token is the one that ``hf auth login`` or ``HF_TOKEN`` provides.

    Args:
        run: the run, or its directory.
        to: ``"hf://user/name"``. The repository is created if it is missing.
        private: create it so that only you and your organization see it; refuse a public one.
        revision: the branch, created if it is missing; default ``"main"``.
        license: the licence of the weights as the hub abbreviates it, for instance ``"apache-2.0"``; default
            ``"unknown"``.
        force: push although the repository holds files of others, of which those with the same names are replaced; and
            as for `load_model`.

    Returns:
        What was sent, and where it is.

    Raises:
        UsageError: the address has another form, or the repository holds something that no earlier push wrote, or is
            public. Nothing was sent.
        HubError: the hub cannot be reached or refuses. The commit is made whole or not at all.
        RunError: the run is still being trained, or as `load_model`.
        MissingPackageError: a package that the extra ``hub`` installs is missing.
    """
    address = _target(to, revision)
    need_hub("Pushing")
    run = run if isinstance(run, Run) else load_run(run)
    if run.status == "running":
        raise RunError(f"{run.path} is still being trained; push it when it has ended.")
    if not has_token():
        raise HubError("Pushing needs a token: log in with hf auth login, or set HF_TOKEN.")
    before, is_there = _existing(address, private)
    theirs, ours = _owners(address, before) if before else ([], [])
    if theirs and not force:
        raise UsageError(
            f"{address} holds what cnnreg push did not write, or what was changed since: {listing(theirs, 5)}. Nothing "
            f"was sent. Name another repository, or use --force to replace files of the same names and keep the others."
        )
    with TemporaryDirectory(prefix="cnnreg-push-") as temporary:
        folder = Path(temporary)
        with working(f"Preparing {run.path.name}"):
            write_files(run, folder, weights_licence=license or UNKNOWN, repository=address.repository, force=force)
        return _send(address, folder, before if before and is_there else _created(address, private), ours)


def _target(to: str, revision: str | None) -> Address:
    address = hub_address(to)
    if address is None:
        raise UsageError(f"A run is pushed to hf://user/name; got {to!r}.")
    if revision and address.revision not in (None, revision):
        raise UsageError(f"{to} names another revision than {revision!r}.")
    if revision:
        named = hub_address(f"hf://{address.repository}@{revision}")
        assert named is not None
        address = named
    if address.is_pinned:
        raise UsageError(f"{address.revision} is a commit, which does not change; name a branch.")
    return address


def _existing(address: Address, private: bool) -> tuple[Contents | None, bool]:
    """What the repository holds, if there is one, and whether the branch is there; a new one begins as ``main``."""
    is_there = True
    try:
        found = contents_of(address)
    except HubError as error:
        if error.missing == "repository":
            return None, False
        if error.missing != "revision":
            raise
        found, is_there = contents_of(replace(address, revision=None)), False
    if private and not found.private:
        raise UsageError(f"{address} is public. Nothing was sent; make it private on its page, or omit --private.")
    return found, is_there


def _owners(address: Address, before: Contents) -> tuple[list[str], list[str]]:
    """The files that somebody else wrote or changed, and those of an earlier push."""
    written = _manifest(before) if MANIFEST in before.files else {}
    names = [name for name in before.files if name not in OF_THE_HUB]
    ours = [name for name in names if name == MANIFEST or before.digests[name] in written.get(name, ())]
    if not written:
        ours = []
    return [name for name in names if name not in ours], ours


def _manifest(before: Contents) -> dict[str, tuple[str, ...]]:
    """The digests of each file of an earlier push; empty where the list of them has another form."""
    if before.files[MANIFEST] > MAX_MANIFEST:
        return {}
    repository, commit = before.address.repository, before.address.revision
    with TemporaryDirectory(prefix="cnnreg-push-") as folder:
        asked(before.address, lambda api: api.hf_hub_download(repository, MANIFEST, revision=commit, local_dir=folder))
        try:
            listed = json.loads(read_regular(Path(folder) / MANIFEST, MAX_MANIFEST))["files"]
            return {str(name): tuple(map(str, digests.values())) for name, digests in listed.items()}
        except (OSError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
            return {}


def _created(address: Address, private: bool) -> Contents:
    """The new repository, or the new branch of one."""
    repository, branch = address.repository, address.revision

    def create(api: HfApi) -> None:
        api.create_repo(repository, private=private or None, exist_ok=True)
        if branch:
            api.create_branch(repository, branch=branch, exist_ok=True)

    asked(address, create)
    return contents_of(address)


def _send(address: Address, folder: Path, before: Contents, ours: list[str]) -> Pushed:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    files = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    replaced = tuple(name for name in files if name in before.files)
    removed = tuple(name for name in ours if name not in files)
    if replaced:
        note(f"Replacing in {address}: {', '.join(replaced)}")
    if removed:
        note(f"Removing from {address}, as this run does not have them: {', '.join(removed)}")
    total = sum(files.values())
    note(f"Uploading {counted(len(files), 'file')} ({total / 1e6:.1f} MB) to {address}")
    operations: list[Any] = [CommitOperationAdd(name, folder / name) for name in files]
    operations += [CommitOperationDelete(name) for name in removed]

    def commit(api: HfApi) -> Any:
        return api.create_commit(
            address.repository,
            operations,
            commit_message="Push a run with cnnreg",
            revision=address.revision,
            parent_commit=before.address.revision,
        )

    made = asked(address, commit, UPLOAD_SECONDS + total / UPLOAD_RATE)
    return Pushed(str(address.at(made.oid)), made.oid, made.commit_url, files, replaced, removed)
