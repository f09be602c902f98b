"""Visibility and permissions, and whether a refusal admits that an object exists."""

from dataclasses import replace

import pytest

from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.identity.access import (
    EVERYWHERE,
    SYSTEM,
    Caller,
    Grant,
    PrincipalKind,
    Role,
    not_found,
)
from app.domain.identity.credentials import ServerCredential
from app.domain.naming import PrefixName
from tests.support.evidence import an_id

PREFIX = PrefixName("acme", "brand-voice")
NOTHING, RELEASED, EVERYTHING = "nothing", "released", "everything"


def a_caller(*grants, channels=None):
    held = frozenset(Grant(role, namespace) for role, namespace in grants)
    return Caller(an_id("alice"), "alice", PrincipalKind.HUMAN, held, ServerCredential(), channels)


def visibility(caller, prefix=PREFIX):
    """Return how much of a prefix is visible to the caller, derived from its refusals."""
    visible = NOTHING
    for unreleased, word in ((False, RELEASED), (True, EVERYTHING)):
        try:
            caller.require_visible(prefix, unreleased=unreleased)
        except NotFoundError:
            return visible
        visible = word
    return visible


def expected_visibility(role, namespace, *, limited):
    if namespace == "other" or role is Role.AUDITOR:
        return NOTHING
    return RELEASED if limited or role is Role.READER else EVERYTHING


@pytest.mark.parametrize("limited", [False, True], ids=["unlimited-token", "channel-token"])
@pytest.mark.parametrize("namespace", ["acme", "other", EVERYWHERE])
@pytest.mark.parametrize("role", Role)
def test_role_namespace_and_token_decide_what_is_visible(role, namespace, limited):
    channels = frozenset({"production"}) if limited else None
    caller = a_caller((role, namespace), channels=channels)
    expected = expected_visibility(role, namespace, limited=limited)

    assert visibility(caller) == expected
    assert caller.can_see_unreleased("acme") == (expected == EVERYTHING)


def test_without_grants_nothing_is_visible():
    assert visibility(a_caller()) == NOTHING


@pytest.mark.parametrize("namespace", ["acm", "acme2", "ACME", "", "acme/brand-voice"])
def test_a_grant_covers_no_namespace_of_a_similar_name(namespace):
    assert visibility(a_caller((Role.ADMIN, namespace))) == NOTHING


@pytest.mark.parametrize(
    ("channels", "channel", "visible"),
    [
        pytest.param(None, "production", True, id="unlimited-token"),
        pytest.param({"production"}, "production", True, id="named"),
        pytest.param({"production"}, "staging", False, id="not-named"),
        pytest.param(set(), "production", False, id="limited-to-none"),
    ],
)
def test_only_the_channels_of_a_limited_token_are_visible_to_it(channels, channel, visible):
    limit = None if channels is None else frozenset(channels)

    assert a_caller((Role.READER, "acme"), channels=limit).can_see_channel(channel) is visible


@pytest.mark.parametrize("demanded", Role)
@pytest.mark.parametrize("held", Role)
def test_no_role_implies_another(held, demanded):
    caller = a_caller((held, "acme"))

    assert caller.roles("acme") == {held}
    if held is demanded:
        caller.require_in(demanded, "acme")
    else:
        with pytest.raises(ForbiddenError):
            caller.require_in(demanded, "acme")


def refusal(caller, role=Role.APPROVER):
    try:
        caller.require(role, PREFIX)
    except (NotFoundError, ForbiddenError) as error:
        return type(error)
    return None


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        pytest.param([(Role.APPROVER, "acme")], None, id="the-role"),
        pytest.param([(Role.APPROVER, EVERYWHERE)], None, id="the-role-everywhere"),
        pytest.param([(Role.READER, "acme"), (Role.APPROVER, "acme")], None, id="among-others"),
        pytest.param([(Role.PUBLISHER, "acme")], ForbiddenError, id="another-working-role"),
        pytest.param([(Role.ADMIN, EVERYWHERE)], ForbiddenError, id="an-admin-is-not-an-approver"),
        pytest.param([(Role.READER, "acme")], NotFoundError, id="a-reader-may-not-know"),
        pytest.param([(Role.AUDITOR, EVERYWHERE)], NotFoundError, id="an-auditor-may-not-know"),
        pytest.param([(Role.APPROVER, "other")], NotFoundError, id="the-role-elsewhere"),
        pytest.param([], NotFoundError, id="no-grants"),
        pytest.param(
            [(Role.APPROVER, "other"), (Role.PUBLISHER, "acme")],
            ForbiddenError,
            id="roles-do-not-travel",
        ),
    ],
)
def test_only_callers_that_may_know_of_a_prefix_are_refused_as_forbidden(grants, expected):
    assert refusal(a_caller(*grants)) is expected


@pytest.mark.parametrize("role", Role)
def test_a_channel_token_can_only_read(role):
    grants = [(each, EVERYWHERE) for each in Role]
    caller = a_caller(*grants, channels=frozenset({"production"}))

    assert refusal(caller, role) is (None if role is Role.READER else NotFoundError)


def test_an_absent_prefix_and_an_invisible_one_are_refused_in_the_same_words():
    with pytest.raises(NotFoundError) as invisible:
        a_caller().require_visible(PREFIX)

    assert invisible.value.detail == PREFIX.missing().detail


def test_a_role_in_one_namespace_is_none_over_all_of_them():
    with pytest.raises(
        ForbiddenError, match=r"alice needs the role admin on every namespace \(\*\)"
    ):
        a_caller((Role.ADMIN, "acme")).require_in(Role.ADMIN, EVERYWHERE)

    a_caller((Role.ADMIN, EVERYWHERE)).require_in(Role.ADMIN, EVERYWHERE)


def test_a_refusal_names_role_and_namespace():
    with pytest.raises(ForbiddenError) as refused:
        a_caller((Role.PUBLISHER, "acme")).require(Role.APPROVER, PREFIX)

    assert refused.value.detail == "alice needs the role approver on namespace acme for this."


def test_the_refusal_of_a_channel_token_names_its_limit():
    caller = a_caller((Role.ADMIN, "acme"), channels=frozenset({"production"}))

    with pytest.raises(ForbiddenError) as refused:
        caller.require_in(Role.ADMIN, "acme")

    assert refused.value.detail == (
        "alice needs the role admin on acme and a token that is not limited to channels for this."
    )


@pytest.mark.parametrize("namespace", ["acme", "elsewhere", EVERYWHERE])
def test_a_role_in_any_namespace_suffices_where_any_is_accepted(namespace):
    caller = a_caller((Role.EVALUATOR, namespace))

    caller.require_anywhere(Role.PUBLISHER, Role.EVALUATOR)
    with pytest.raises(ForbiddenError, match="one of the roles publisher, admin on some"):
        caller.require_anywhere(Role.PUBLISHER, Role.ADMIN)


def test_a_channel_token_has_no_working_role_anywhere():
    grants = [(role, EVERYWHERE) for role in Role]
    caller = a_caller(*grants, channels=frozenset({"production"}))

    with pytest.raises(ForbiddenError):
        caller.require_anywhere(*(role for role in Role if role is not Role.READER))


@pytest.mark.parametrize(
    ("grants", "expected"),
    [
        pytest.param([], set(), id="none"),
        pytest.param([(Role.READER, "acme")], {"acme"}, id="reading"),
        pytest.param([(Role.ADMIN, "acme"), (Role.READER, "b")], {"acme", "b"}, id="two"),
        pytest.param([(Role.READER, EVERYWHERE)], {EVERYWHERE}, id="all"),
        pytest.param([(Role.AUDITOR, EVERYWHERE)], set(), id="an-auditor-sees-no-prefix"),
    ],
)
def test_the_namespaces_of_a_caller_are_those_with_visible_versions(grants, expected):
    caller = a_caller(*grants)

    assert caller.namespaces() == expected
    assert replace(caller, channels=frozenset({"production"})).namespaces() == expected


def test_the_servers_own_commands_administer_but_do_not_approve():
    SYSTEM.require(Role.ADMIN, PREFIX)

    for role in (Role.PUBLISHER, Role.EVALUATOR, Role.APPROVER):
        with pytest.raises(ForbiddenError):
            SYSTEM.require(role, PREFIX)


def test_an_invisible_object_is_refused_as_if_it_did_not_exist():
    refused = not_found("evaluation", "42")

    assert isinstance(refused, NotFoundError)
    assert refused.detail == "There is no evaluation 42, or your grants do not cover it."
