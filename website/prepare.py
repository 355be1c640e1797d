"""Write the pages of the site to ``build/website``: those of ``docs/``, of the root and of the plugins, the reference.

Links between files of the repository become links between pages. A link to a file that is not on the site is an error.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BUILD = ROOT / "build" / "website"

sys.path.insert(0, str(ROOT))
from docs.make_api import FACES, public_names  # noqa: E402  (a script beside, not a package)

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
        if source.endswith(".md"):
            target.write_text(relinked((ROOT / source).read_text(encoding="utf-8"), source, places), encoding="utf-8")
        elif source == "LICENSE":
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(f"# Licence\n\n```text\n{text}\n```\n", encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    reference(build / "reference")
    shutil.copytree(ROOT / "website" / "assets", build / "assets")
    shutil.copyfile(ROOT / "website" / "mkdocs.yml", build.parent / "mkdocs.yml")


def pages() -> dict[str, str]:
    """The place on the site of each file that is on it, both as relative paths."""
    docs = [path for path in (ROOT / "docs").rglob("*") if path.suffix in (".md", ".png", ".svg")]
    places = {path.relative_to(ROOT).as_posix(): path.relative_to(ROOT / "docs").as_posix() for path in docs}
    places |= {f"plugins/{path.parent.name}/README.md": f"packages/{path.parent.name}.md" for path in readmes()}
    del places["docs/api.md"]  # the reference takes its place
    return places | ROOT_PAGES


def readmes() -> list[Path]:
    """The README files of the plugins."""
    return sorted(ROOT.glob("plugins/cnnreg-*/README.md"))


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
        (folder / f"{face}.md").write_text(f"# {face}\n\n{directives}", encoding="utf-8")
        listed = ", ".join(f"[`{name}`]({face}.md#{face}.{name})" for name in names if f"{face}.{name}" not in FACES)
        lines += [f"## [{face}]({face}.md)", "", listed, ""]
    (folder / "index.md").write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
