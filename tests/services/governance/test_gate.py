"""The gate on stored rows: the evidence that a decision rests on and an approval is bound to."""


def test_without_a_comparison_the_evidence_of_the_incumbent_binds_no_approval(world):
    incumbent = world.a_live_version()
    promotion = world.a_promotion(seed=1)
    world.review(promotion, by="approver-1")

    assert world.evaluate(incumbent).status_code == 201

    after = world.promotion(promotion)
    assert after["decision"]["incumbent"]["number"] == incumbent["number"]
    assert {each["of"] for each in after["decision"]["evaluations"]} == {"candidate"}
    assert after["subject_digest"] == promotion["subject_digest"]
    assert after["waiting_for"]["approvals"] == 1
