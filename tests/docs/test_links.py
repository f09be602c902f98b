"""Every relative link of the pages leads to a file, and every anchor to a heading."""

import re

from tests.support.markdown_pages import PAGES, ROOT, shown, without_code

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors_of(text):
    """Return the anchors that renderers of Markdown give to the headings of a page."""
    found = set()
    for heading in re.findall(r"^#+ (.*)$", without_code(text), re.MULTILINE):
        kept = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading).lower())
        found.add(kept.replace(" ", "-"))
    return found


def leads_somewhere(path, target, root=ROOT):
    """Whether a link on the page at `path` names a file of the project and a heading in it."""
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    if not file.exists() or not file.is_relative_to(root):
        return False
    return not anchor or anchor in anchors_of(file.read_text())


def local_links(path):
    links = LINK.findall(without_code(path.read_text()))
    return [link for link in links if not re.match(r"[a-z]+:", link)]


def test_links_lead_somewhere():
    broken = [
        (shown(path), link)
        for path in PAGES
        for link in local_links(path)
        if not leads_somewhere(path, link)
    ]
    assert broken == []


def test_a_broken_link_and_a_broken_anchor_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# A `title`, really\n[a](absent.md) [b](#absent) [c](#a-title-really)\n")

    found = [link for link in local_links(page) if not leads_somewhere(page, link, tmp_path)]

    assert found == ["absent.md", "#absent"]


def test_every_page_under_docs_is_in_an_index():
    indexes = (ROOT / "docs" / "README.md", ROOT / "docs" / "decisions" / "README.md")
    linked = {(index.parent / link).resolve() for index in indexes for link in local_links(index)}
    pages = {path for path in PAGES if path.is_relative_to(ROOT / "docs")}
    assert pages - linked == {indexes[0]}
