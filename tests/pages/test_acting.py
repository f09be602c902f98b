"""What can be done on the pages, and by whom: asked for without a browser."""

from tests.support.builders import results


def test_the_glass_is_broken_only_on_a_typed_confirmation(world, reading):
    promotion = world.a_promotion()
    person = reading("admin")
    path = f"/admin/promotions/{promotion['id']}"
    fields = {"form_token": person.mark(path), "reason": "the fleet is down, and this mends it"}

    assert person.post(f"{path}/break-glass", **fields).status_code == 422
    short = fields | {"reason": "hurry", "confirmation": "break glass"}
    assert person.post(f"{path}/break-glass", **short).status_code == 422
    assert world.promotion(promotion)["state"] == "pending"

    done = person.post(f"{path}/break-glass", **fields, confirmation="break glass")
    assert done.status_code == 303
    assert world.promotion(promotion)["break_glass"] is True
    assert "break-glass" in person.get(path).text


def test_a_request_can_be_withdrawn_by_whoever_made_it(world, reading):
    promotion = world.a_promotion()
    person = reading("publisher")
    path = f"/admin/promotions/{promotion['id']}"
    response = person.post(f"{path}/withdraw", form_token=person.mark(path))
    assert response.headers["location"] == f"{path}?done=withdraw"
    assert world.promotion(promotion)["state"] == "withdrawn"


def test_an_admin_breaks_the_glass_where_the_gate_is_shut(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    person = reading("admin")
    fields = {
        "form_token": person.mark(path),
        "reason": "the fleet is down, and this mends it",
        "confirmation": "break",
    }
    unsure = person.post(f"{path}/break-glass", **fields)
    assert unsure.status_code == 422
    assert f'action="{path}/break-glass"' in unsure.text

    done = person.post(f"{path}/break-glass", **fields | {"confirmation": "break glass"})

    assert done.status_code == 303
    assert world.resolve().json()["version"] == 1
    assert "break-glass" in person.get(done.headers["location"]).text


def test_who_is_no_admin_is_not_offered_to_break_the_glass(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    assert "break-glass" not in reading("approver-1").get(path).text
