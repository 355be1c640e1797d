"""Write the pages of the site to ``build/website``: those of ``docs/`` with its notebooks, of the root and of the
plugins, and the reference.

Links between files of the repository become links between pages. A link to a file that is not on the site is an error.
"""

from __future__ import annotations

import ast
import base64
import json
import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "website"

sys.path.insert(0, str(ROOT))
from docs.make_api import FACES, first_line, parse, public_names  # noqa: E402  (a script beside, not a package)

LINK = re.compile(r"(!?\[[^\]]*\]\()(?!https?://|mailto:|#)([^)#\s]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"^ *```(?s:.*?)^ *```$|`[^`\n]+`|(?:^\n|\A)(?: {4}.*\n)+", re.MULTILINE)
ROOT_PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
    "LICENSE": "license.md",
}


def main(build: Path = BUILD) -> None:
    """Write everything except the gallery.

    Args:
        build: the folder of the pages, which is replaced; the configuration goes beside it.
    """
    shutil.rmtree(build, ignore_errors=True)
    places = pages()
    for source, place in places.items():
        target = build / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.endswith(".ipynb"):
            target.write_text("\n".join(notebook(source, target, places)), encoding="utf-8")
        elif source.endswith(".md"):
            target.write_text(relinked((ROOT / source).read_text(encoding="utf-8"), source, places), encoding="utf-8")
        elif source == "LICENSE":
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(f"# Licence\n\n```text\n{text}\n```\n", encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    reference(build / "reference")
    shutil.copytree(ROOT / "website" / "assets", build / "assets")
    configuration = (ROOT / "website" / "mkdocs.yml").read_text(encoding="utf-8")
    (build.parent / "mkdocs.yml").write_text(configuration.replace("VERSION", version()), encoding="utf-8")


def version() -> str:
    """The version that is documented."""
    [found] = re.findall(r'^__version__ = "(.+)"$', (ROOT / "src/cnn_registry/__init__.py").read_text(), re.MULTILINE)
    return str(found)


def pages() -> dict[str, str]:
    """The place on the site of each file that is on it, both as relative paths."""
    docs = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".png", ".svg")]
    places = {path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs").as_posix() for path in docs}
    notebooks = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
    places |= {path.relative_to(ROOT).as_posix(): f"notebooks/{path.stem}.md" for path in notebooks}
    places |= {f"plugins/{path.parent.name}/README.md": f"packages/{path.parent.name}.md" for path in readmes()}
    del places["docs/api.md"]  # the reference takes its place
    return places | ROOT_PAGES


def readmes() -> list[Path]:
    """The README files of the plugins."""
    return sorted(ROOT.glob("plugins/cnnreg-*/README.md"))


def notebook(source: str, page: Path, places: dict[str, str]) -> Iterator[str]:
    """A notebook as Markdown, with what is stored of its outputs."""
    for cell in json.loads((ROOT / source).read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            yield f"{relinked(text, source, places)}\n"
        else:
            yield f"```python\n{text}\n```\n"
            yield from outputs(cell, page)


def outputs(cell: dict[str, Any], page: Path) -> Iterator[str]:
    """The outputs of a cell as Markdown. Pictures become files beside the page."""
    for number, output in enumerate(cell["outputs"]):
        data = {"text/plain": output["text"]} if output["output_type"] == "stream" else output["data"]
        if images := [kind for kind in data if kind in ("image/png", "image/jpeg")]:
            picture = page.with_name(f"{page.stem}-{cell['id']}-{number}.{images[0].rpartition('/')[2]}")
            picture.write_bytes(base64.b64decode("".join(data[images[0]])))
            yield f"![output of the cell above]({picture.name})\n"
        elif "text/html" in data:
            yield "".join(data["text/html"]) + "\n"
        else:
            yield "\n".join(["```text", *"".join(data["text/plain"]).rstrip().splitlines(), "```\n"])


def relinked(text: str, source: str, places: dict[str, str]) -> str:
    """A page whose links lead to pages of the site.

    Raises:
        SystemExit: one leads to a file that is not on the site.
    """

    def link(match: re.Match[str]) -> str:
        wanted = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        place = "reference/index.md" if wanted == "docs/api.md" else places.get(wanted)
        if place is None:
            raise SystemExit(f"{source} links to {wanted}, which is not on the site")
        return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(places[source]) or '.')}{match[3]}"

    kept: list[str] = []

    def keep(match: re.Match[str]) -> str:
        kept.append(match[0])
        return f"\0{len(kept) - 1}\0"

    prose = LINK.sub(link, CODE.sub(keep, text))
    return re.sub("\0(\\d+)\0", lambda match: kept[int(match[1])], prose)


def reference(folder: Path) -> None:
    """Write a page for each public module, with a directive for each name, and one that lists them."""
    folder.mkdir()
    lines = ["# Python API", "", "Import from these modules and from no others, which may change without notice.", ""]
    for face in FACES:
        names = public_names(face)
        directives = "\n".join(f"::: {face}.{name}\n" for name in names if f"{face}.{name}" not in FACES)
        about = first_line(ast.parse(parse(face).text))
        (folder / f"{face}.md").write_text(f"# {face}\n\n{about}\n\n{directives}", encoding="utf-8")
        listed = ", ".join(f"[`{name}`]({face}.md#{face}.{name})" for name in names if f"{face}.{name}" not in FACES)
        lines += [f"## [{face}]({face}.md)", "", listed, ""]
    (folder / "index.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
