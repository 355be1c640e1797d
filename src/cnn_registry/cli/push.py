"""``cnnreg push``."""

from __future__ import annotations

from dataclasses import asdict

import click

from .common import common_options, json_option
from .output import print_json, tell


@click.command("push")
@click.argument("run")
@click.argument("to", metavar="hf://USER/NAME")
@click.option("--private", is_flag=True, help="Create a repository that only you and your organization can see.")
@click.option("--revision", metavar="BRANCH", help="Branch to push to, created if it is missing (default: main).")
@click.option(
    "--license",
    metavar="ID",
    help="Licence of the weights, as the hub abbreviates it, for instance apache-2.0 (default: unknown).",
)
@click.option(
    "--force",
    is_flag=True,
    help="Push although the repository holds other files, and although the run's network has changed.",
)
@json_option
@common_options
def command(
    run: str, to: str, private: bool, revision: str | None, license: str | None, force: bool, as_json: bool
) -> None:
    """Publish RUN, a run directory, in a repository of the Hugging Face hub.

    Sent are the best weights, what makes the run loadable elsewhere, and a card that describes it; no images, but the
    names of their files. The token is the one of 'hf auth login' or HF_TOKEN. Wherever a command takes a run or
    weights, it also takes hf://USER/NAME.
    """
    from cnn_registry.hub.push import push

    made = push(run, to, private=private, revision=revision, license=license, force=force)
    if as_json:
        print_json(asdict(made))
        return
    tell(f"pushed: {made.address}", wrap=False)
    tell(f"page: {made.url}", wrap=False)
