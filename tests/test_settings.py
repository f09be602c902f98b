"""The settings that name issuers: what cannot be trusted is refused at the start."""

import json

import pytest

from app.domain.access import PrincipalKind
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
    """Read the settings of a registry that is to trust these issuers."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)

    def configured(*issuers):
        monkeypatch.setenv("REGISTRY_OIDC_ISSUERS", json.dumps(issuers))
        return settings_from_environment().issuers

    return configured


def test_without_the_setting_no_issuer_is_trusted(configured, monkeypatch):
    assert configured() == []
    monkeypatch.delenv("REGISTRY_OIDC_ISSUERS")
    assert settings_from_environment().issuers == []


def test_an_issuer_is_trusted_as_little_as_possible_unless_told_otherwise(configured):
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
        pytest.param({"issuer": "https://"}, id="no-host"),
        pytest.param({"issuer": "file:///etc/passwd"}, id="a-file"),
        pytest.param({"jwks_url": "http://10.0.0.1/keys"}, id="keys-without-tls"),
        pytest.param({"audience": ""}, id="no-audience"),
        pytest.param({"leeway_s": 301}, id="endless-leeway"),
        pytest.param({"max_age_s": 0}, id="no-age"),
        pytest.param({"algorithm": "RS256"}, id="unknown-field"),
    ],
)
def test_what_cannot_be_trusted_is_refused_at_the_start(configured, change):
    with pytest.raises(SettingsError, match="REGISTRY_OIDC_ISSUERS") as refused:
        configured(ISSUER | change)
    assert "secret" not in str(refused.value)


def test_one_issuer_is_configured_once(configured):
    with pytest.raises(SettingsError, match="once"):
        configured(ISSUER, ISSUER | {"audience": "https://another.example"})
