"""``cnnreg new``."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from .commands import COMMANDS
from .common import common_options
from .output import tell

TEMPLATES = ("plain", "residual", "inception", "recipe", "command")


@click.command("new")
@click.argument("name")
@click.option("--dataset", is_flag=True, help="Write a dataset package instead of a model package.")
@click.option(
    "--template", type=click.Choice(TEMPLATES), help="Network to start from, or what else to provide.  [default: plain]"
)
@click.option("--author", help="Author in the metadata and the licence.  [default: The cnnreg-NAME authors]")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default=True,
    help="Directory in which the folder cnnreg-NAME is made.",
)
@common_options
def command(name: str, dataset: bool, template: str | None, author: str | None, out: Path) -> None:
    """Write a new plugin package.

    It provides the model, recipe or command NAME, and is ready to install, change and publish.
    """
    from cnn_registry.scaffold.new import new_package

    if dataset and template:
        raise click.UsageError("--template is for models, not for --dataset.", click.get_current_context())
    typed = name.replace("_", "-")
    if template == "command" and typed in COMMANDS:
        raise click.UsageError(f"cnnreg has a command {typed!r}; choose another name.", click.get_current_context())
    folder = new_package(name, template="dataset" if dataset else template or "plain", author=author, out=out)
    tell(f"Wrote {folder}. Next:")
    tell(f"  cd {shlex.quote(str(folder))}", wrap=False)
    tell("  pip install -e .")
    tell(f"  cnnreg {_first_use(name, 'dataset' if dataset else template)}")


def _first_use(name: str, template: str | None) -> str:
    """What to try first with an installed package."""
    uses = {
        "dataset": f"check --dataset {name}",
        "recipe": f"recipes {name}",
        "command": f"{name.replace('_', '-')} --help",
    }
    return uses.get(template or "", f"check {name}")
