"""axe-core finds no violation on any page, in the light or the dark colour scheme."""

from tests.pages.test_pages import paths

CHECK = "async options => (await axe.run(document, options)).violations"
VIOLATIONS = {"resultTypes": ["violations"]}
# The dark scheme differs in colours only.
COLOURS = VIOLATIONS | {"runOnly": ["color-contrast", "link-in-text-block"]}


def violations(page, axe):
    """Return the violations on a page in both colour schemes, each with its elements."""
    page.emulate_media(reduced_motion="reduce")  # no colour is measured during a transition
    page.evaluate(axe)
    found = page.evaluate(CHECK, VIOLATIONS)
    page.emulate_media(color_scheme="dark")
    found += page.evaluate(CHECK, COLOURS)
    page.emulate_media(color_scheme="light")
    return [(each["id"], [node["target"] for node in each["nodes"]]) for each in found]


def test_no_page_has_a_violation(story, visiting, axe):
    by_reader = {}
    for who, path in paths(story).values():
        by_reader.setdefault(who, []).append(path)
    prefix = f"/admin/prefixes/{story.prefix}"
    by_reader["approver-1"] += [
        f"{prefix}/versions/3/gate/production",
        f"{prefix}/versions/4/gate/production",
        f"/admin/promotions/{story.pending['id']}",
        "/admin/nothing",
    ]
    found = {}
    for who, chosen in by_reader.items():
        page = visiting(who, viewport={"width": 1000, "height": 900})
        for path in chosen:
            page.goto(path)
            page.evaluate("document.querySelectorAll('main details').forEach(e => { e.open = 1 })")
            found[path] = violations(page, axe)
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("API token").wait_for()
    found["sign-in"] = violations(page, axe)
    assert {path: wrong for path, wrong in found.items() if wrong} == {}


def test_the_tooltip_of_a_cell_has_no_violation(story, visiting, axe):
    path = f"/admin/prefixes/{story.prefix}/versions/4/gate/production"
    page = visiting("approver-1", path)
    page.locator(".cell").nth(4).focus()
    assert violations(page, axe) == []
