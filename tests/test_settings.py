"""The settings of token issuers: unsafe configurations are refused at the start."""

import json

import pytest

from app.domain.identity.access import PrincipalKind
from app.http.limits import ConnectionLimits
from app.settings import SettingsError, settings_from_environment

ENVIRONMENT = {
    "REGISTRY_DATABASE_URL": "postgresql+psycopg://registry@127.0.0.1/registry",
    "REGISTRY_S3_ACCESS_KEY": "key",
    "REGISTRY_S3_SECRET_KEY": "hidden",
    "REGISTRY_S3_BUCKET": "registry",
}
ISSUER = {"issuer": "https://ci.example", "audience": "https://registry.example"}


@pytest.fixture
def configured(monkeypatch):
    """A function that reads the settings with these issuers configured."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def configured(*issuers):
        monkeypatch.setenv("REGISTRY_OIDC_ISSUERS", json.dumps(issuers))
        return settings_from_environment().issuers

    return configured


def test_the_limits_of_connections_are_settings(configured, monkeypatch):
    for number, name in enumerate(("", "_PER_ADDRESS"), start=7):
        monkeypatch.setenv(f"REGISTRY_MAX_CONNECTIONS{name}", str(number))
    monkeypatch.setenv("REGISTRY_KEEP_ALIVE_S", "9")
    configured()
    assert settings_from_environment().connections == ConnectionLimits(7, 8, 9)


def test_without_the_setting_no_issuer_is_trusted(configured, monkeypatch):
    assert configured() == []
    monkeypatch.delenv("REGISTRY_OIDC_ISSUERS")
    assert settings_from_environment().issuers == []


def test_an_issuer_is_trusted_as_little_as_possible_by_default(configured):
    (issuer,) = configured(ISSUER)
    assert (issuer.url, issuer.audience) == (ISSUER["issuer"], ISSUER["audience"])
    assert (issuer.kind, issuer.algorithms) == (PrincipalKind.SERVICE, {"RS256"})
    assert (issuer.max_age.total_seconds(), issuer.leeway.total_seconds()) == (3600, 30)


def test_people_and_other_keys_can_be_configured(configured):
    more = {"kind": "human", "algorithms": ["ES256"], "jwks_url": "http://127.0.0.1:99/keys"}
    (issuer,) = configured(ISSUER | more)
    assert (issuer.kind, issuer.algorithms) == (PrincipalKind.HUMAN, {"ES256"})
    assert issuer.jwks_url == more["jwks_url"]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"algorithms": ["HS256"]}, id="shared-secret"),
        pytest.param({"algorithms": ["none"]}, id="no-signature"),
        pytest.param({"algorithms": []}, id="no-algorithm"),
        pytest.param({"issuer": "http://ci.example"}, id="no-tls"),
        pytest.param({"issuer": "https://me:secret@ci.example"}, id="with-a-user"),
        pytest.param({"issuer": "https://ci.example?a=b"}, id="with-a-query"),
        pytest.param({"issuer": "https://ci.example#a"}, id="with-a-fragment"),
        pytest.param({"issuer": "https://"}, id="no-host"),
        pytest.param({"issuer": "file:///etc/passwd"}, id="a-file"),
        pytest.param({"jwks_url": "http://10.0.0.1/keys"}, id="keys-without-tls"),
        pytest.param({"audience": ""}, id="no-audience"),
        pytest.param({"leeway_s": 301}, id="endless-leeway"),
        pytest.param({"max_age_s": 0}, id="no-age"),
        pytest.param({"algorithm": "RS256"}, id="unknown-field"),
    ],
)
def test_an_unsafe_issuer_is_refused_at_the_start(configured, change):
    with pytest.raises(SettingsError, match="REGISTRY_OIDC_ISSUERS") as refused:
        configured(ISSUER | change)
    assert "secret" not in str(refused.value)


def test_an_issuer_can_be_configured_only_once(configured):
    with pytest.raises(SettingsError, match="once"):
        configured(ISSUER, ISSUER | {"audience": "https://another.example"})


def test_invalid_json_is_reported_without_its_secrets(configured, monkeypatch):
    configured()
    monkeypatch.setenv("REGISTRY_OIDC_ISSUERS", '[{"client_secret": "sesame"')
    with pytest.raises(SettingsError, match="cannot be read as a JSON list") as refused:
        settings_from_environment()
    assert "sesame" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[{"audience": "a", "audience": "b"}]', 'the key "audience" is given more than once'),
        ('[{"audience": "a", "\\u0061udience": "b"}]', "more than once"),
        ('[{"leeway_s": NaN}]', "NaN is not a JSON number"),
        ("{}", "tuple"),
        ("", "cannot be read as a JSON list"),
    ],
)
def test_issuers_that_parsers_read_differently_are_refused(configured, monkeypatch, text, sentence):
    configured()
    monkeypatch.setenv("REGISTRY_OIDC_ISSUERS", text)
    with pytest.raises(SettingsError, match=sentence):
        settings_from_environment()


# Signing in to the pages

PEOPLE = ISSUER | {"issuer": "https://sso.example/acme", "kind": "human", "client_id": "registry"}


@pytest.fixture
def public(monkeypatch):
    monkeypatch.setenv("REGISTRY_PUBLIC_URL", "https://registry.example/")


def test_people_sign_in_through_an_issuer_with_a_client(configured, public):
    (issuer,) = configured(PEOPLE)
    assert (issuer.client.name, issuer.client.id) == ("sso.example", "registry")
    assert issuer.client.redirect_uri == (
        "https://registry.example/admin/sign-in/sso.example/callback"
    )
    assert (issuer.client.secret, issuer.client.token_url) == (None, None)


def test_a_secret_is_not_shown(configured, public):
    (issuer,) = configured(PEOPLE | {"client_secret": "sesame", "name": "acme"})
    assert (issuer.client.name, issuer.client.secret) == ("acme", "sesame")
    assert "sesame" not in repr(issuer) + repr(settings_from_environment())


def test_an_issuer_with_a_client_needs_the_public_url(configured):
    with pytest.raises(SettingsError, match="set REGISTRY_PUBLIC_URL: issuers redirect to it"):
        configured(PEOPLE)


@pytest.mark.parametrize(
    "url",
    ["http://registry.example", "registry.example", "https://registry.example/below", "https://"],
)
def test_a_public_url_has_https_and_no_path(configured, monkeypatch, url):
    monkeypatch.setenv("REGISTRY_PUBLIC_URL", url)
    with pytest.raises(SettingsError, match="REGISTRY_PUBLIC_URL"):
        configured(PEOPLE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"kind": "service"}, "set kind to human", id="for-jobs"),
        pytest.param({"client_id": None, "client_secret": "x"}, "need a client_id", id="secret"),
        pytest.param({"client_id": None, "name": "x"}, "need a client_id", id="name"),
        pytest.param({"client_id": ""}, "at least 1", id="empty"),
        pytest.param({"name": "a/b"}, "pattern", id="a-name-with-a-slash"),
        pytest.param({"token_url": "http://sso.example/t"}, "https", id="no-tls"),
        pytest.param({"authorization_url": "javascript:x"}, "https", id="a-script"),
    ],
)
def test_an_invalid_client_is_refused(configured, public, change, message):
    with pytest.raises(SettingsError, match=message):
        configured(PEOPLE | change)


def test_issuers_for_login_need_different_names(configured, public):
    other = PEOPLE | {"issuer": "https://sso.example/other"}
    with pytest.raises(SettingsError, match="set name"):
        configured(PEOPLE, other)
    assert len(configured(PEOPLE, other | {"name": "other"})) == 2
