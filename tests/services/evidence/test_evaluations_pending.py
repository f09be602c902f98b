"""New or voided evidence: pending promotions are decided again in the same transaction."""

from tests.support.builders import results


def test_a_new_evaluation_decides_a_pending_promotion_again(world):
    version = world.an_evaluated_version()
    promotion = world.request(version).json()

    worse = world.evaluate(version, results=results(value=0.2))

    after = world.promotion(promotion)
    assert worse.status_code == 201
    assert after["decision"]["result"] == "failed"
    assert after["subject_digest"] != promotion["subject_digest"]


def test_a_voided_evaluation_decides_a_pending_promotion_again(world):
    promotion = world.a_promotion()
    (evaluation,) = promotion["decision"]["evaluations"]

    assert world.void(evaluation).status_code == 200

    assert world.promotion(promotion)["decision"]["result"] == "failed"
