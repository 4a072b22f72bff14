"""The pages that docs/tutorial_pages.py makes of the tutorials: all of them, and all that is in them."""

import importlib.util

import pytest
from conftest import REPOSITORY

SCRIPT = """# %% [markdown]
# # A title with |bars|
#
# What it is about, with `code_like_this` and J_ij. Less than two minutes on one core.
#
#     E = -J e_i.e_j

# %%
x = 1

figure.savefig("stored.png")
figure.savefig("lost.png")
"""


@pytest.fixture
def pages():
    specification = importlib.util.spec_from_file_location("tutorial_pages", REPOSITORY / "docs" / "tutorial_pages.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_tutorial_has_a_page_with_all_its_code(pages, tmp_path):
    pages.write_pages(tmp_path)
    gallery = (tmp_path / "gallery.inc").read_text()
    scripts = sorted((REPOSITORY / "tutorials").glob("[0-9]*.py"))
    assert {path.stem for path in tmp_path.glob("*.rst")} == {path.stem for path in scripts}
    for script in scripts:
        page = (tmp_path / f"{script.stem}.rst").read_text()
        lines = [line for line in script.read_text().splitlines() if line and not line.startswith("#")]
        assert all(f"    {line}" in page for line in lines)
        assert f"</tutorials/{script.stem}>`" in gallery


def test_a_new_script_appears_and_a_removed_one_goes(pages, tmp_path, monkeypatch):
    for name in ("scripts", "figures"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(pages, "SCRIPTS", tmp_path / "scripts")
    monkeypatch.setattr(pages, "FIGURES", tmp_path / "figures")
    (tmp_path / "figures" / "stored.png").touch()
    (tmp_path / "scripts" / "99_new.py").write_text(SCRIPT)
    pages.write_pages(tmp_path / "pages")
    page = (tmp_path / "pages" / "99_new.rst").read_text()
    assert page.startswith("A title with \\|bars\\|\n====")
    assert "with ``code_like_this`` and J\\_ij." in page
    assert "::\n\n    E = -J e_i.e_j\n" in page
    assert ".. code-block:: python\n\n    x = 1\n\n    figure" in page
    assert page.count("stored.png\n") == 1
    assert "image:: ../figures/lost.png" not in page
    assert "Less than two minutes on one core." in (tmp_path / "pages" / "gallery.inc").read_text()
    (tmp_path / "scripts" / "99_new.py").unlink()
    pages.write_pages(tmp_path / "pages")
    assert [path.name for path in (tmp_path / "pages").iterdir()] == ["gallery.inc"]
