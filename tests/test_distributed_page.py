"""The examples of "More than one machine" fit the command line, the function and the shell that they are for."""

from __future__ import annotations

import ast
import inspect
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

import cnn_registry
from cnn_registry.backend.cluster import parsed
from cnn_registry.cli.train import command as train

PAGE = (Path(__file__).parents[1] / "docs" / "distributed.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def takes(words: list[str]) -> None:
    """The command line takes these words."""
    program, name, *arguments = words
    assert (program, name) == ("cnnreg", "train")
    train.make_context(name, arguments)


def test_the_shell_example_describes_two_processes() -> None:
    [text] = [block for block in blocks("sh") if "TF_CONFIG" in block]
    described, command = text.strip().splitlines()
    found = parsed(shlex.split(described)[1].removeprefix("TF_CONFIG="))
    assert found is not None
    assert (found.rank, len(found.addresses)) == (0, 2)
    takes(shlex.split(command))


def test_the_slurm_script_is_one() -> None:
    [script] = [block for block in blocks("sh") if "#SBATCH" in block]
    if bash := shutil.which("bash"):
        subprocess.run([bash, "-n"], input=script, text=True, check=True)
    [line] = [line for line in script.splitlines() if line.startswith("srun ")]
    takes(shlex.split(line)[1:])


def test_the_manifest_trains_with_mounted_images() -> None:
    yaml = pytest.importorskip("yaml")
    [manifest] = blocks("yaml")
    job = yaml.safe_load(manifest)
    assert (job["apiVersion"], job["kind"]) == ("kubeflow.org/v1", "TFJob")
    pod = job["spec"]["tfReplicaSpecs"]["Worker"]["template"]["spec"]
    [container] = pod["containers"]
    assert container["name"] == "tensorflow"  # the operator looks for this name
    takes(container["command"])
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    for path in ("/data/photos", "/runs"):
        assert path in container["command"]
        assert any(path.startswith(mount) for mount in mounts.values())


def test_what_the_operator_sets_is_understood() -> None:
    addresses = [f"resnet50-worker-{number}.default.svc:2222" for number in range(4)]
    described = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 3}, "environment": "cloud"}
    found = parsed(json.dumps(described))
    assert found is not None
    assert (found.rank, found.addresses) == (3, addresses)


def test_the_ray_snippet_calls_train_as_it_is() -> None:
    [snippet] = [block for block in blocks("python") if "ray" in block]
    [call] = [node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call) and is_train(node)]
    values = {str(word.arg): ast.literal_eval(word.value) for word in call.keywords}
    bound = inspect.signature(cnn_registry.train).bind(*map(ast.literal_eval, call.args), **values)
    assert bound.arguments.keys() >= {"model", "data", *values}


def is_train(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and node.func.attr == "train"
