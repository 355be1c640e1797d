import json
import re

import pytest

from cnn_registry import errors
from cnn_registry.backend.cluster import SLURM_TASKS, TF_CONFIG, find_cluster, parsed

TWO = {"worker": ["a:1", "b:1"]}


@pytest.fixture(autouse=True)
def _no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (TF_CONFIG, SLURM_TASKS):
        monkeypatch.delenv(name, raising=False)


def described(jobs: object, job: str = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})


def test_outside_a_cluster_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_cluster() is None
    monkeypatch.setenv(TF_CONFIG, "{}")
    assert find_cluster() is None


def test_tf_config_names_the_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TF_CONFIG, described(TWO, index=1))
    found = find_cluster()
    assert found is not None
    assert (found.rank, found.addresses, found.task(1)) == (1, ["a:1", "b:1"], "/job:worker/replica:0/task:1")


def test_a_chief_comes_before_the_workers() -> None:
    found = parsed(described({"chief": ["c:1"], "worker": ["a:1", "a:2"]}, index=1))
    assert found is not None
    assert (found.rank, found.local_rank, found.addresses) == (2, 1, ["c:1", "a:1", "a:2"])
    assert [found.task(rank) for rank in (0, 2)] == ["/job:chief/replica:0/task:0", "/job:worker/replica:0/task:1"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "describes no cluster"),
        ("[]", "describes no cluster"),
        (described(TWO, index="x"), "describes no cluster"),
        (json.dumps({"cluster": TWO}), "describes no cluster"),
        (described(TWO, index=2), "not in its cluster"),
        (described(TWO, index=-1), "not in its cluster"),
        (described(TWO, job="chief"), "not in its cluster"),
        (described(TWO | {"ps": ["p:1"]}), "the job 'ps'"),
        (described(TWO | {"chief": ["c:1", "d:1"]}), "2 chiefs"),
        (described({"worker": ["a:1", "a:1"]}), "twice"),
    ],
)
def test_what_is_wrong_with_it_is_one_line(text: str, says: str) -> None:
    with pytest.raises(errors.UsageError, match=re.escape(says)) as caught:
        parsed(text)
    assert "\n" not in str(caught.value)


def test_srun_describes_a_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    variables = {"NUM_TASKS": "4", "NODELIST": "n[09-10],m", "TASKS_PER_NODE": "2,1(x2)"}
    for name, value in variables.items():
        monkeypatch.setenv(f"SLURM_STEP_{name}", value)
    monkeypatch.setenv("SLURM_PROCID", "2")
    found = find_cluster()
    assert found is not None
    assert (found.rank, found.addresses) == (2, ["n09:8888", "n09:8889", "n10:8888", "m:8888"])
    monkeypatch.delenv("SLURM_STEP_NODELIST")
    with pytest.raises(errors.UsageError, match="srun"):
        find_cluster()
