"""Pages of the tutorials: reads ``tutorials/*.py``, runs none of them, and writes a page for each when Sphinx starts.

A cell that starts with ``# %% [markdown]`` becomes text, any other code. A figure follows the cell that names its
file, if ``docs/figures`` has it, or ends the page if a script of that folder draws it with the tutorial.
"""

import re
from pathlib import Path

HERE = Path(__file__).parent
SCRIPTS, FIGURES, PAGES = HERE.parent / "tutorials", HERE / "figures", HERE / "tutorials"
NUMBER = "half a|an?|one|two|three|four|five|six|eight|ten"
TIME = re.compile(
    rf"(?:\b(?:less than|about|some) )?\b(?:{NUMBER}) minutes?(?: and a half)?(?: on \w+ cores?)?", re.IGNORECASE
)


def write_pages(folder=PAGES):
    """Write ``NAME.rst`` for every script, and ``gallery.inc`` with titles, abstracts and figures of all."""
    folder.mkdir(exist_ok=True)
    pages, entries = {}, []
    for path in sorted(SCRIPTS.glob("[0-9]*.py")):
        pages[f"{path.stem}.rst"], entry = tutorial(path)
        entries.append(entry)
    pages["gallery.inc"] = "\n".join(entries)
    for old in folder.iterdir():
        if old.name not in pages:
            old.unlink()
    for name, page in pages.items():
        if not (folder / name).exists() or (folder / name).read_text() != page:
            (folder / name).write_text(page)


def tutorial(path):
    """Page of a script, and its entry in the gallery."""
    parts = re.split(r"(?m)^# %%(.*)\n", path.read_text())[1:]
    cells = list(zip(["markdown" in kind for kind in parts[::2]], parts[1::2], strict=True))
    page = [piece for is_text, body in cells for piece in (text(body) if is_text else code(body))]
    elsewhere = [script for script in sorted(FIGURES.glob("*.py")) if path.stem in script.read_text()]
    page += figures(" ".join(f"{script.stem}.png" for script in elsewhere))
    title, *abstract = text(cells[0][1])
    page.insert(1, f"The script :download:`{path.name} <../../tutorials/{path.name}>`, cell by cell.")
    pictures = re.findall(r"\.\. image:: \S+/(\w+\.png)", "\n".join(page))
    return "\n\n".join(page) + "\n", gallery_entry(path, title.split("\n")[0], abstract, pictures)


def gallery_entry(path, title, abstract, pictures):
    """What the gallery says of a tutorial: title, first paragraph, run time, first figure."""
    heading = f":doc:`{title} </tutorials/{path.stem}>`"
    lines = [heading, "-" * len(heading), "", abstract[0], ""]
    time = None if TIME.search(abstract[0]) else TIME.search(" ".join(abstract))
    lines += [f"{time[0].capitalize()}.", ""] if time else []
    lines += [f".. image:: figures/{pictures[0]}", "    :width: 60%", "    :alt:", ""] if pictures else []
    return "\n".join(lines)


def text(cell):
    """Paragraphs of a Markdown cell as reStructuredText; understands titles, indented code and code in backquotes."""
    for paragraph in re.split(r"\n\n+", re.sub(r"(?m)^# ?", "", cell).strip("\n")):
        if title := re.fullmatch(r"(#+) (.*)", paragraph):
            yield f"{escaped(title[2])}\n{'=-~'[len(title[1]) - 1] * 2 * len(title[2])}"
        elif paragraph.startswith("    "):
            yield f"::\n\n{paragraph}"
        else:
            yield escaped(paragraph)


def code(cell):
    """A code cell, and the figures that it saves."""
    block = "\n".join(f"    {line}".rstrip() for line in cell.strip("\n").split("\n"))
    return [f".. code-block:: python\n\n{block}", *figures(cell)]


def figures(names):
    """Those figures named in a text that are stored."""
    stored = [name for name in dict.fromkeys(re.findall(r"\w+\.png", names)) if (FIGURES / name).exists()]
    return [f".. image:: ../figures/{name}\n    :width: 100%\n    :alt: Figure of this tutorial" for name in stored]


def escaped(paragraph):
    """Text with its code marked and other characters that mean something in reStructuredText made harmless."""
    pieces = paragraph.split("`")
    pieces[::2] = [re.sub(r"([|*_\\])", r"\\\1", piece) for piece in pieces[::2]]
    pieces[1::2] = [f"``{piece}``" for piece in pieces[1::2]]
    return "".join(pieces)
