"""Actions on the pages and the roles they need, without a browser."""

from tests.support.builders import results


def test_break_glass_needs_a_typed_confirmation(world, reading):
    promotion = world.a_promotion()
    person = reading("admin")
    path = f"/admin/promotions/{promotion['id']}"
    fields = {
        "form_token": person.form_token(path),
        "reason": "the fleet is down, and this mends it",
    }

    assert person.post(f"{path}/break-glass", **fields).status_code == 422
    short = fields | {"reason": "hurry", "confirmation": "break glass"}
    assert person.post(f"{path}/break-glass", **short).status_code == 422
    assert world.promotion(promotion)["state"] == "pending"

    done = person.post(f"{path}/break-glass", **fields, confirmation="break glass")
    assert done.status_code == 303
    assert world.promotion(promotion)["break_glass"] is True
    assert "break-glass" in person.get(path).text


def test_a_requester_can_withdraw_the_request(world, reading):
    promotion = world.a_promotion()
    person = reading("publisher")
    path = f"/admin/promotions/{promotion['id']}"
    response = person.post(f"{path}/withdraw", form_token=person.form_token(path))
    assert response.headers["location"] == f"{path}?done=withdraw"
    assert world.promotion(promotion)["state"] == "withdrawn"


def test_an_admin_uses_break_glass_when_the_gate_does_not_pass(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    person = reading("admin")
    fields = {
        "form_token": person.form_token(path),
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


def test_only_admins_are_offered_break_glass(world, reading):
    version = world.a_version()
    world.a_channel()
    world.evaluate(version, results=results(value=0.5))
    path = f"/admin/prefixes/{world.prefix}/versions/1/gate/production"
    assert "break-glass" not in reading("approver-1").get(path).text
