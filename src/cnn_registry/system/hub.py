"""Repositories of a hub of models, named ``hf://user/name[@revision]``: what is in them, and how it is fetched.

`huggingface_hub` speaks to the hub, with the token that it finds by itself. Here its answers get bounds of time and
size, and whatever goes wrong becomes one line without the token.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

from cnn_registry.errors import HubError, UsageError
from cnn_registry.text import counted, one_line

from .extras import need
from .files import is_own_file, read_regular, whole_file
from .paths import hub_dir
from .progress import note, progress
from .quiet import PutBack, in_force, without_warnings

if TYPE_CHECKING:
    from huggingface_hub import HfApi

T = TypeVar("T")

SCHEME = "hf://"
MAIN = "main"
"""The revision where none is named."""

UNKNOWN_SIZE = 2**62
"""Stands for the size of a file that the hub does not tell; it is larger than any that is read."""

ANSWER_SECONDS = 60.0
"""Within which the hub has to answer a question."""

STALLED_SECONDS = 60.0
"""A download ends if nothing arrives for so long."""

UPLOAD_SECONDS, UPLOAD_RATE = 300.0, 32 * 1024
"""An upload may take the first, and a second for each so many bytes."""

LOOKS = 0.1
"""Seconds between looks at how much of a download has arrived."""

_START = re.compile(r"hf:[/\\]{1,2}(?=[^/\\])")
"""A `Path` keeps one of the two slashes."""

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_-])?"
_ADDRESS = re.compile(rf"({_PART})/({_PART})(?:@([A-Za-z0-9][A-Za-z0-9._/-]{{0,199}}))?")
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True)
class Address:
    """A repository of a hub.

    Attributes:
        repository: ``"user/name"``.
        revision: a branch, a tag or a commit; ``None`` for ``"main"``.
    """

    repository: str
    revision: str | None = None

    def __str__(self) -> str:
        return f"{SCHEME}{self.repository}" + (f"@{self.revision}" if self.revision else "")

    def at(self, commit: str) -> Address:
        """The repository at a commit."""
        return replace(self, revision=commit)

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which never changes."""
        return bool(self.revision and _COMMIT.fullmatch(self.revision))


@dataclass(frozen=True)
class Contents:
    """What a repository holds.

    Attributes:
        address: the repository, at a commit.
        files: their sizes in bytes, by name.
        private: whether only some may see it.
        digests: the SHA-256 of a large file, the SHA-1 that git gives any other, by name.
    """

    address: Address
    files: Mapping[str, int]
    private: bool
    digests: Mapping[str, str]


def hub_address(name: str | Path) -> Address | None:
    """The repository that ``name`` names; ``None`` if it does not begin with ``hf://``.

    Raises:
        UsageError: it does, but has another form.
    """
    text = str(name)
    if not (start := _START.match(text)):
        return None
    match = _ADDRESS.fullmatch(text[start.end() :].replace("\\", "/"))
    if not match or ".." in text or "--" in text:
        raise UsageError(f"A repository is named hf://user/name or hf://user/name@revision; got {text!r}.")
    return Address(f"{match[1]}/{match[2]}", match[3])


def need_hub(what: str = "A repository hf://...") -> None:
    """Refuse ``what`` if the packages that it needs are not installed.

    Raises:
        MissingPackageError: one or both are not.
    """
    names = {"huggingface_hub": "huggingface_hub", "safetensors": "safetensors"}
    need(what, *names, extra="hub", distributions=names)


def pinned(address: Address) -> Address:
    """The repository at the commit that its revision stands for now; offline, as it was last known.

    Raises:
        HubError: the hub does not say, and it was not fetched before.
    """
    return address if address.is_pinned else _resolved(address)[0]


def fetched(address: Address, choose: Callable[[Contents], Mapping[str, int]], finish: Callable[[Path], None]) -> Path:
    """The folder in the cache with some files of a repository, fetched once for each commit.

    Args:
        address: the repository.
        choose: returns the names of the files to fetch, and the largest size of each in bytes.
        finish: called with the folder when all files are in it; may change it.

    Raises:
        HubError: it cannot be fetched, or a file is larger than it may be. Nothing is kept then.
        MissingPackageError: a package that fetches is not installed.
        UsageError, WeightsError: what ``choose`` and ``finish`` raise.
    """
    need_hub()
    commit, contents = (address, None) if address.is_pinned else _resolved(address)
    folder = _folder(commit)
    if folder.is_dir():
        return folder
    contents = contents or contents_of(commit)
    wanted = choose(contents)
    for name, limit in wanted.items():
        size = contents.files[name]
        if size > limit:
            found = "an unknown number of" if size == UNKNOWN_SIZE else f"{size:,}"
            raise HubError(
                f"{name} in {address} has {found} bytes; at most {limit:,} are read. Nothing was downloaded."
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder.parent, prefix=".fetching-") as temporary:
        arrived = Path(temporary) / "files"
        arrived.mkdir()
        _download(contents, list(wanted), arrived)
        finish(arrived)
        try:
            arrived.replace(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise
    return folder


def contents_of(address: Address) -> Contents:
    """What a repository holds.

    Raises:
        HubError: it cannot be asked for, or the answer has another form.
    """
    info: Any = asked(
        address,
        lambda api: api.model_info(
            address.repository, revision=address.revision, files_metadata=True, timeout=ANSWER_SECONDS
        ),
    )
    files, digests = {}, {}
    for entry in info.siblings or ():
        large = getattr(entry, "lfs", None)
        is_known = isinstance(entry.size, int) and entry.size >= 0
        files[str(entry.rfilename)] = entry.size if is_known else UNKNOWN_SIZE
        digests[str(entry.rfilename)] = str(large.sha256 if large else entry.blob_id)
    if not _COMMIT.fullmatch(str(info.sha)) or (address.is_pinned and info.sha != address.revision):
        raise HubError(f"The hub does not say which commit of {address} it has.")
    return Contents(address.at(info.sha), files, bool(info.private), digests)


def asked(address: Address, call: Callable[[HfApi], T], seconds: float = ANSWER_SECONDS) -> T:
    """What a call of the hub's client returns.

    Args:
        address: the repository that it is about, for messages.
        call: gets the client.
        seconds: after which it is left alone.

    Raises:
        HubError: it fails, or takes too long.
    """
    if _is_offline():
        raise _offline(f"{address} was not fetched before, and HF_HUB_OFFLINE is set.")
    return _watched(address, call, lambda began, now: now - began > seconds)


def endpoint() -> str:
    """The address of the hub: ``HF_ENDPOINT``, or huggingface.co."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def is_fetched(path: Path) -> bool:
    """Whether a folder is in the part of the cache for what was fetched."""
    return path.absolute().is_relative_to(hub_dir().absolute())


def fetched_from(path: Path) -> Address | None:
    """The repository, at a commit, that a folder was fetched from; ``None`` for a folder of somebody's own."""
    match is_fetched(path) and path.absolute().relative_to(hub_dir().absolute()).parts:
        case [repository, commit, *_]:
            return Address(repository.replace("--", "/"), commit)
    return None


def _resolved(address: Address) -> tuple[Address, Contents | None]:
    """The repository at a commit; without its contents where the hub cannot be reached and it was fetched before."""
    known = hub_dir() / _folder_name(address) / "refs" / quote(address.revision or MAIN, safe="")
    try:
        contents = contents_of(address)
    except HubError as error:
        commit = _known_commit(known)
        if not error.is_offline or not commit or not _folder(address.at(commit)).is_dir():
            raise
        note(f"The hub cannot be reached; {address} is used as it was fetched before, at commit {commit[:12]}.")
        return address.at(commit), None
    assert contents.address.revision
    known.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(known) as temporary:
        temporary.write_text(contents.address.revision, encoding="ascii")
    return contents.address, contents


def _known_commit(file: Path) -> str | None:
    try:
        text = read_regular(file, 40).decode("ascii")
    except (OSError, ValueError):
        return None
    return text if _COMMIT.fullmatch(text) else None


def _folder(commit: Address) -> Path:
    return hub_dir() / _folder_name(commit) / str(commit.revision)


def _folder_name(address: Address) -> str:
    return address.repository.replace("/", "--")


def _download(contents: Contents, names: list[str], folder: Path) -> None:
    """Fetch files into a folder, which then has them and nothing else."""
    address, total = contents.address, sum(contents.files[name] for name in names)
    assert address.revision
    title = f"Downloading {SCHEME}{address.repository} at commit {address.revision[:12]}"
    what = f"{title} ({counted(len(names), 'file')}, {total / 1e6:.1f} MB)"
    with TemporaryDirectory(dir=folder.parent) as received, progress(what, total, unit="bytes") as advance:
        for name in names:
            call = partial(_receive, repository=address.repository, commit=address.revision, name=name, into=received)
            _watched(address, call, _Arrivals(Path(received), contents.files[name], advance))
            arrived = Path(received) / name
            if not is_own_file(arrived) or arrived.stat().st_size != contents.files[name]:
                raise HubError(f"{name} of {address} is not the file of {contents.files[name]:,} bytes that was asked.")
            arrived.replace(folder / name)


def _receive(api: HfApi, *, repository: str, commit: str, name: str, into: str) -> None:
    api.hf_hub_download(repository, name, revision=commit, local_dir=into)


class _Arrivals:
    """Whether a download is to be left alone: nothing arrives any more, or more than the file has."""

    def __init__(self, folder: Path, size: int, advance: Callable[[int], None]) -> None:
        self._folder, self._size, self._advance = folder, size, advance
        self._arrived, self._last = 0, time.monotonic()

    def __call__(self, began: float, now: float) -> bool:
        arrived = 0
        for file in self._folder.rglob("*"):
            try:
                arrived += file.lstat().st_size if file.suffix not in (".lock", ".metadata") else 0
            except OSError:  # it was moved meanwhile
                continue
        if arrived > self._arrived:
            self._advance(min(arrived, self._size) - min(self._arrived, self._size))
            self._arrived, self._last = arrived, now
        return now - self._last > STALLED_SECONDS or arrived > self._size + 2**20


def _watched(address: Address, call: Callable[[HfApi], T], is_over: Callable[[float, float], bool]) -> T:
    """What a call returns that is made in a thread of its own, so that it can be left alone."""
    need_hub()
    answers: queue.Queue[tuple[bool, Any]] = queue.Queue()

    def work() -> None:
        try:
            from huggingface_hub import HfApi

            answers.put((True, call(HfApi(endpoint=endpoint(), library_name="cnn-registry"))))
        except BaseException as error:
            answers.put((False, error))

    with _quiet_client():
        threading.Thread(target=work, daemon=True).start()
        began = time.monotonic()
        while True:
            try:
                succeeded, answer = answers.get(timeout=LOOKS)
                break
            except queue.Empty:
                if is_over(began, time.monotonic()):
                    raise HubError(f"{address} could not be reached: the hub is too slow.") from None
    if succeeded:
        return answer  # type: ignore[no-any-return]  # what the call returned
    if isinstance(answer, HubError | UsageError):
        raise answer
    raise _fault(address, answer) from None  # whose message may have the token


@contextmanager
def _quiet_client() -> Iterator[None]:
    """Within it the client prints neither bars nor warnings."""
    utils: Any = import_module("huggingface_hub.utils")

    def change() -> PutBack:
        had_bars, level = not utils.are_progress_bars_disabled(), utils.logging.get_verbosity()
        utils.logging.set_verbosity(logging.CRITICAL)
        if had_bars:
            utils.disable_progress_bars()

        def put_back() -> None:
            utils.logging.set_verbosity(level)
            if had_bars:
                utils.enable_progress_bars()

        return put_back

    with in_force("huggingface_hub", change), without_warnings():  # it warns of its own use of its HTTP library
        yield


def _fault(address: Address, error: BaseException) -> HubError:
    """What went wrong, in one line."""
    from huggingface_hub import errors

    if isinstance(error, RuntimeError) and error.__cause__:  # of one of several files
        return _fault(address, error.__cause__)
    host = urlsplit(endpoint()).netloc or endpoint()
    page = f"{endpoint()}/{address.repository}"
    status = getattr(getattr(error, "response", None), "status_code", None)
    login = "log in with: hf auth login (or set HF_TOKEN)"
    found: HubError
    if isinstance(error, errors.GatedRepoError):
        found = HubError(f"{address} is gated: ask for access at {page}, and {login}.")
    elif isinstance(error, errors.RevisionNotFoundError):
        found = HubError(f"hf://{address.repository} has no revision {address.revision!r}; see {page}.")
        found.missing = "revision"
    elif status == 401 and _token():
        found = HubError(f"{host} does not accept the token for {address}: it is wrong or has expired; {login}.")
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        found = HubError(f"There is no repository {address} at {host}, or you may not see it: check it, or {login}.")
        found.missing = "repository" if status == 404 else ""
    elif status == 403:
        found = HubError(f"The token may not do this with {address}: it needs the right to write; {login}.")
    elif status in (409, 412):
        found = HubError(f"{address} was changed by somebody else meanwhile; nothing was sent. Try again.")
    elif status == 429:
        found = HubError(f"{host} answers no more for now: too many requests. Try again later.")
    elif status is not None:
        found = HubError(f"{host} answered {status} for {address}. Try again later.")
    elif _is_connection(error):
        found = _offline(f"{address} could not be reached: no connection to {host}.")
    else:
        found = HubError(f"{address} could not be used: {without_token(one_line(error))}")
    return found


def _offline(message: str) -> HubError:
    error = HubError(message)
    error.is_offline = True
    return error


def _is_connection(error: BaseException) -> bool:
    """Whether the hub could not be reached, in whichever of the client's HTTP libraries."""
    from huggingface_hub import errors

    seen: BaseException | None = error
    for _ in range(5):
        if seen is None:
            return False
        names = {cls.__name__ for cls in type(seen).__mro__}
        if names & {"TransportError", "ConnectionError", "TimeoutError", "OfflineModeIsEnabled"}:
            return True
        seen = seen.__cause__ if isinstance(seen, errors.LocalEntryNotFoundError) else None
    return False


def has_token() -> bool:
    """Whether the client finds a token of the hub."""
    return bool(_token())


def without_token(text: str) -> str:
    """``text`` without the token of the hub."""
    token = _token()
    return text.replace(token, "***") if token else text


def _token() -> str | None:
    from huggingface_hub import get_token

    return get_token()


def _is_offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")
