"""An issuer's keys: when they are fetched, and how tokens are treated during its outages."""

import threading
import time as real_time
from datetime import UTC, datetime, timedelta

import pytest

from app.domain.errors import UnauthenticatedError, UnavailableError
from app.oidc.fetching import FetchError, fetch_object
from app.oidc.issuers import Issuers
from app.oidc.published_cache import FRESH, PAUSE, USABLE
from tests.oidc.issuing import an_ec_key, an_rsa_key, issuing
from tests.oidc.test_issuers import trusted
from tests.support.racing import at_once

SECOND = timedelta(seconds=1)
FAILURES = ["down", "failing", "garbage", "huge", "moved"]


def now():
    return datetime.now(UTC)  # noqa: TID251 - the registry's clock, which a test moves


@pytest.fixture
def issuer():
    with issuing("ci") as (issuer,):
        yield issuer


def verified(known, token, *, after=timedelta(0)):
    return known.verified(token, now() + after)[1]["sub"]


def refused(known, token):
    with pytest.raises(UnavailableError):
        verified(known, token)


def a_long_token(issuer, **more):
    """Return a token that stays valid while a test moves the clock."""
    return issuer.token(exp=issuer.claims()["iat"] + 7200, **more)


def test_keys_are_fetched_once_for_many_tokens(issuer):
    known = Issuers([trusted(issuer)])
    for _ in range(3):
        verified(known, issuer.token())
    assert issuer.asked == [".well-known/openid-configuration", "keys"]


def test_nothing_is_fetched_before_the_first_token(issuer):
    Issuers([trusted(issuer)])
    assert issuer.asked == []


def test_configured_keys_need_no_discovery(issuer):
    known = Issuers([trusted(issuer, jwks_url=f"{issuer.url}/keys")])
    verified(known, issuer.token())
    assert issuer.asked == ["keys"]


def test_a_new_key_is_fetched_and_the_old_one_dropped(issuer):
    known = Issuers([trusted(issuer)])
    old = a_long_token(issuer)
    verified(known, old)

    issuer.rotate()

    assert verified(known, a_long_token(issuer), after=PAUSE + SECOND)
    with pytest.raises(UnauthenticatedError, match="no such key"):
        verified(known, old, after=PAUSE + SECOND)


def test_a_withdrawn_key_is_dropped_after_minutes(issuer):
    known = Issuers([trusted(issuer)])
    old = a_long_token(issuer)
    verified(known, old)
    issuer.rotate()

    assert verified(known, old, after=FRESH - SECOND)
    with pytest.raises(UnauthenticatedError, match="no such key"):
        verified(known, old, after=FRESH + SECOND)


def test_unknown_key_ids_cause_one_fetch_per_pause(issuer):
    known = Issuers([trusted(issuer)])
    verified(known, issuer.token())
    issuer.asked.clear()
    for number in range(20):
        with pytest.raises(UnauthenticatedError):
            verified(known, issuer.token(header={"kid": f"k-{number}"}), after=PAUSE + SECOND)
    assert issuer.asked.count("keys") == 1


@pytest.mark.parametrize("ill", FAILURES)
def test_without_keys_tokens_are_refused_as_unavailable(issuer, ill):
    known = Issuers([trusted(issuer)])
    issuer.ill = ill
    for after in (timedelta(0), SECOND):
        with pytest.raises(UnavailableError, match="are not available"):
            verified(known, issuer.token(), after=after)
    assert len(issuer.asked) == 1

    issuer.ill = None
    assert verified(known, issuer.token(), after=PAUSE + SECOND)


@pytest.mark.parametrize("ill", FAILURES)
def test_cached_keys_survive_a_short_outage_but_not_a_long_one(issuer, ill):
    known = Issuers([trusted(issuer)])
    token = a_long_token(issuer)
    verified(known, token)
    issuer.ill = ill

    assert verified(known, token, after=FRESH + SECOND)
    assert verified(known, token, after=USABLE - SECOND)
    with pytest.raises(UnavailableError):
        verified(known, token, after=USABLE + SECOND)


def test_an_unknown_key_during_an_outage_is_refused_as_unavailable(issuer):
    known = Issuers([trusted(issuer)])
    verified(known, issuer.token())
    issuer.rotate()
    issuer.ill = "failing"
    with pytest.raises(UnavailableError):
        verified(known, issuer.token(), after=PAUSE + SECOND)


def test_a_slow_issuer_delays_only_one_request(issuer):
    known = Issuers([trusted(issuer)])
    issuer.ill = "slow"
    held = threading.Thread(target=refused, args=(known, issuer.token()))
    start = real_time.monotonic()
    held.start()
    while not issuer.asked:
        real_time.sleep(0.005)

    refused(known, issuer.token())
    assert real_time.monotonic() - start < 2.5

    held.join()
    assert real_time.monotonic() - start < 6


def test_concurrent_jobs_after_a_rotation_are_all_accepted(issuer):
    known = Issuers([trusted(issuer)])
    verified(known, issuer.token())
    issuer.rotate()
    tokens = [issuer.token() for _ in range(8)]

    subjects = at_once(
        *(lambda each=each: verified(known, each, after=PAUSE + SECOND) for each in tokens)
    )

    assert len(subjects) == 8
    assert issuer.asked.count("keys") == 2


def test_cached_keys_are_used_while_the_issuer_is_slow(issuer):
    known = Issuers([trusted(issuer)])
    token = a_long_token(issuer)
    verified(known, token)
    issuer.asked.clear()
    issuer.ill = "slow"
    asking = threading.Thread(target=verified, args=(known, token), kwargs={"after": FRESH})
    asking.start()
    while not issuer.asked:
        real_time.sleep(0.005)

    start = real_time.monotonic()
    assert verified(known, token, after=FRESH)
    assert real_time.monotonic() - start < 1
    asking.join()


def test_a_clock_that_was_set_back_does_not_block_fetching(issuer):
    known = Issuers([trusted(issuer)])
    verified(known, issuer.token(), after=timedelta(seconds=25))
    issuer.rotate()
    assert verified(known, issuer.token())


def test_an_issuer_url_may_end_with_a_slash(issuer):
    issuer.url += "/"
    issuer.discovery["issuer"] = issuer.url
    issuer.discovery["jwks_uri"] = f"{issuer.url}keys"
    assert verified(Issuers([trusted(issuer)]), issuer.token())


@pytest.mark.parametrize(
    "discovery",
    [
        pytest.param({"issuer": "https://another.example"}, id="of-another-issuer"),
        pytest.param({"issuer": None}, id="no-issuer"),
        pytest.param({"jwks_uri": "http://127.0.0.1:1/keys"}, id="keys-on-another-port"),
        pytest.param({"jwks_uri": "http://169.254.169.254/latest"}, id="keys-on-another-host"),
        pytest.param({"jwks_uri": "file:///etc/passwd"}, id="keys-in-a-file"),
        pytest.param({"jwks_uri": None}, id="no-keys"),
    ],
)
def test_discovery_leads_to_no_other_server(issuer, discovery, caplog):
    issuer.discovery |= discovery
    with pytest.raises(UnavailableError):
        verified(Issuers([trusted(issuer)]), issuer.token())
    assert issuer.asked == [".well-known/openid-configuration"]
    assert "could not be fetched" in caplog.text


@pytest.mark.parametrize(
    "keys", [None, "many", {}, [{}] * 101], ids=["none", "text", "object", "too-many"]
)
def test_an_invalid_list_of_keys_is_refused(issuer, keys):
    issuer.document = lambda name: {"keys": keys} if name == "keys" else issuer.discovery
    with pytest.raises(UnavailableError):
        verified(Issuers([trusted(issuer)]), issuer.token())


def published(issuer, *documents):
    """Make the issuer publish exactly these key documents."""
    document = {"keys": list(documents)}
    issuer.document = lambda name: document if name == "keys" else issuer.discovery


def public(key, **changes):
    document = key.as_dict(private=False) | changes
    return {name: value for name, value in document.items() if value is not None}


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(lambda key: public(key, use="enc"), id="for-encryption"),
        pytest.param(lambda key: public(key, alg="RS512"), id="for-another-algorithm"),
        pytest.param(lambda key: public(key, kid=None), id="without-a-name"),
        pytest.param(lambda key: public(key, kid=7), id="named-by-a-number"),
        pytest.param(lambda key: public(key, n="AQAB"), id="too-small"),
        pytest.param(lambda key: public(key, n="*" * 400), id="broken"),
        pytest.param(lambda key: public(key, n=None), id="incomplete"),
        pytest.param(lambda key: {"kty": "oct", "kid": key.kid, "k": "c2VjcmV0"}, id="a-secret"),
        pytest.param(lambda key: {"kty": ["RSA"], "kid": key.kid}, id="of-no-type"),
        pytest.param(lambda _: "a key", id="a-text"),
    ],
)
def test_an_unusable_key_is_ignored_and_the_others_still_work(issuer, document):
    usable = an_ec_key()
    published(issuer, document(issuer.keys[0]), public(usable))
    known = Issuers([trusted(issuer)])

    assert verified(known, issuer.token(key=usable))
    with pytest.raises(UnauthenticatedError, match="no such key"):
        verified(known, issuer.token())


def test_two_keys_with_the_same_id_are_ignored(issuer):
    twin = an_rsa_key(kid=issuer.keys[0].kid)
    issuer.keys.append(twin)
    known = Issuers([trusted(issuer)])
    for key in issuer.keys:
        with pytest.raises(UnauthenticatedError, match="no such key"):
            verified(known, issuer.token(key=key))


def test_only_the_configured_algorithms_are_accepted(issuer):
    key = an_ec_key()
    issuer.keys.append(key)
    known = Issuers([trusted(issuer, algorithms=frozenset({"ES256"}))])
    assert verified(known, issuer.token(key=key))
    with pytest.raises(UnauthenticatedError, match="signed with ES256"):
        verified(known, issuer.token())


@pytest.mark.parametrize("ill", FAILURES)
def test_a_failing_fetch_raises_an_error(issuer, ill):
    issuer.ill = ill
    with pytest.raises(FetchError):
        fetch_object(f"{issuer.url}/keys")
