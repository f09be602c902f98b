"""The project's prose is plain English: few sentences hide their subject in a relative clause.

`python -m tests.support.prose [PATH…]` lists the sentences that these tests count.
"""

import re

import pytest

from tests.support.markdown_pages import PAGES, shown, without_code
from tests.support.prose import CODE, MARKDOWN, files, measure

MOST_STARTING_FREE_PERCENT = 0.5
MOST_CONTAINING_FREE_PERCENT = 3
MOST_ARCHAIC_PER_THOUSAND_WORDS = 1


def require_plain(paths):
    found = measure(paths)
    listed = "\n".join(map(str, found.offenders))
    assert found.starting_free_percent <= MOST_STARTING_FREE_PERCENT, f"{found}\n{listed}"
    assert found.containing_free_percent <= MOST_CONTAINING_FREE_PERCENT, f"{found}\n{listed}"
    assert found.archaic_per_thousand_words <= MOST_ARCHAIC_PER_THOUSAND_WORDS, f"{found}\n{listed}"


def test_markdown_is_plain():
    require_plain(files(*MARKDOWN))


def test_docstrings_comments_messages_and_pages_are_plain():
    require_plain(files(*CODE))


ITEM = re.compile(r"\s*(?:[-*]|\d+\.) ")


def crowded_lines(text):
    """Yield lines with more than one sentence, and lines that only continue a sentence."""
    before = ""
    for line in without_code(text).splitlines():
        if not line.strip() or line.startswith(("|", "#")):
            before = ""
            continue
        plain = re.sub(r"`[^`]*`", "X", ITEM.sub("", line))
        begins = not before or ITEM.match(line) or re.search(r"[.!?:][\"”)*_]*$", before)
        if re.search(r"[.!?]\)?\s+[A-Z*“\"(\[]", plain) or not begins:
            yield line
        before = line


def test_markdown_has_one_sentence_on_a_line():
    crowded = [(shown(path), line) for path in PAGES for line in crowded_lines(path.read_text())]
    written_by_hand = [each for each in crowded if not each[0].startswith("benchmarks/")]
    assert written_by_hand == []


def test_a_second_sentence_and_a_wrapped_one_are_found():
    text = "One here. Two here.\n\nThis goes\non below.\n- An item.\n  Its second sentence.\n"
    assert list(crowded_lines(text)) == ["One here. Two here.", "on below."]


PYTHON = '''\
"""Whoever asks is told."""
# What nobody
# knows stays here.
raise Error(f"{name} has whatever it needs.")  # once only
LIMIT = 2  # whoever asks
'''
MARKDOWN_PAGE = """\
One line.

- Plain text here.
- What is asked
  is a thing.

| who has it | plain cell here |
"""
TEMPLATE = """\
<p>Short.</p>
<p>Who holds <b>the {{ role }}</b> decides.</p><p title="Else it fails">x</p>
{{ "Nobody decided yet" if empty }}
"""
SOURCES = {
    "a.py": (
        PYTHON,
        [
            (1, "Whoever asks is told."),
            (2, "What nobody knows stays here."),
            (4, "X has whatever it needs."),
        ],
    ),
    "a.md": (MARKDOWN_PAGE, [(4, "What is asked is a thing."), (7, "who has it")]),
    "a.html": (
        TEMPLATE,
        [(2, "Else it fails"), (2, "Who holds the X decides."), (3, "Nobody decided yet")],
    ),
    "a.yml": ("a: 1 # whatever the case\n", [(1, "whatever the case")]),
    "a.css": ("/* Who has a name\n   shows it. */\n", [(1, "Who has a name shows it.")]),
}


@pytest.mark.parametrize("name", SOURCES)
def test_offenders_are_found_with_their_line(tmp_path, name):
    path = tmp_path / name
    source, expected = SOURCES[name]
    path.write_text(source)

    offenders = measure([path]).offenders

    assert sorted((each.line, each.text) for each in offenders) == expected


def test_the_shares_are_of_sentences_and_of_words(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Who asks is told.\n\nIt has whatever it needs.\n\nThis is plain. This is a thing.\n"
    )

    found = measure([page])

    assert (found.starting_free_percent, found.containing_free_percent) == (25, 25)
    assert found.archaic_per_thousand_words == pytest.approx(1000 * 2 / 16)


def test_code_and_plain_sentences_are_no_offenders(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "Call `whatever it takes` first.\n\n```sh\n# Whoever runs this\n```\n\n# What a title\n"
    )

    assert measure([page]).offenders == ()
