"""The image and the compose file: checks that work without Docker."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from app.local.postgres import DATABASE, OWNER_ROLE, SERVICE_ROLE
from app.settings import Settings, settings_from_environment

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
REGISTRY_SERVICES = ("api", "migrate", "bucket")
VARIABLES = {f"REGISTRY_{name.upper()}": field for name, field in Settings.model_fields.items()}


def by_default(text):
    """Return the text with the default of each variable."""
    return re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", text)


def instructions(name):
    return re.findall(rf"^{name} +(.+)$", DOCKERFILE, re.MULTILINE)


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(["hadolint", "docker/Dockerfile"], id="hadolint"),
        pytest.param(
            ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
            id="compose-schema",
        ),
    ],
)
def test_the_linters_find_nothing(command):
    program = Path(sys.executable).parent / command[0]
    done = subprocess.run(
        [program, *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_image_has_an_exact_tag():
    stages = {stage for _, stage in re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)}
    bases = {base.split()[0] for base in instructions("FROM")} - stages
    for image in bases | {service["image"] for service in SERVICES.values()}:
        _, separator, tag = image.rpartition("/")[2].partition(":")
        assert separator, image
        assert tag not in {"", "latest"}, image


def test_the_dependencies_of_a_service_exist():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", ())) <= set(SERVICES), name
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (ROOT / source).exists() if "/" in source else source in COMPOSE["volumes"]


def test_the_api_starts_on_migrated_tables_and_a_bucket():
    assert SERVICES["api"]["depends_on"] == {
        name: {"condition": "service_completed_successfully"} for name in ("bucket", "migrate")
    }


def test_one_service_builds_the_image_of_all_registry_services():
    assert len({SERVICES[name]["image"] for name in REGISTRY_SERVICES}) == 1
    assert [name for name, service in SERVICES.items() if "build" in service] == ["api"]


@pytest.mark.parametrize("name", REGISTRY_SERVICES)
def test_registry_services_have_no_capabilities_and_write_only_to_memory(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not {"cap_add", "privileged", "user", "volumes"} & set(service)
    assert all(re.search(r"size=\d", mount) for mount in service["tmpfs"])


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_gains_privileges_or_listens_beyond_this_machine(name):
    assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


@pytest.mark.parametrize("name", REGISTRY_SERVICES)
def test_the_variables_match_the_settings(name, monkeypatch):
    given = {key: by_default(value) for key, value in SERVICES[name]["environment"].items()}
    required = {variable for variable, field in VARIABLES.items() if field.is_required()}

    assert required <= set(given) <= set(VARIABLES)
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    for variable, value in given.items():
        monkeypatch.setenv(variable, value)
    settings_from_environment()


def test_only_the_migration_knows_the_owner():
    holders = {name for name, service in SERVICES.items() if "OWNER_PASSWORD" in str(service)}
    assert holders == {"migrate", "postgres"}


def test_roles_and_database_are_those_of_local_mode():
    made = (ROOT / "docker/postgres/roles.sql").read_text()
    assert re.findall(r"CREATE ROLE (\w+)", made) == [OWNER_ROLE, SERVICE_ROLE]
    assert re.findall(r"CREATE DATABASE (\w+) OWNER (\w+)", made) == [(DATABASE, OWNER_ROLE)]
    environment = SERVICES["migrate"]["environment"]
    for variable, role in (("DATABASE", SERVICE_ROLE), ("MIGRATION_DATABASE", OWNER_ROLE)):
        url = by_default(environment[f"REGISTRY_{variable}_URL"])
        assert re.fullmatch(rf"postgresql\+psycopg://{role}:\w+@postgres/{DATABASE}", url)


def test_every_password_can_be_replaced_and_none_is_in_the_image():
    for service in SERVICES.values():
        for variable, value in service["environment"].items():
            if re.search("PASSWORD|KEY", variable):
                assert re.fullmatch(r"\$\{\w+:-[\w-]+\}", value), variable
    settings = instructions("ENV") + instructions("ARG")
    assert not re.search("PASSWORD|SECRET|TOKEN|KEY|REGISTRY_", " ".join(settings))


def test_the_build_context_has_exactly_the_copied_files():
    copied = {
        source
        for line in instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }
    rules = (ROOT / ".dockerignore").read_text().splitlines()

    assert all((ROOT / source).exists() for source in copied)
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
    assert "*" in rules


def test_every_package_that_is_built_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert {f"{package} {package}" for package in packages} <= set(instructions("COPY"))


def test_the_server_runs_neither_as_root_nor_in_a_shell():
    [user] = instructions("USER")
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    assert instructions("ENTRYPOINT") == ['["prefix-registry"]']
    assert instructions("HEALTHCHECK")[0].endswith('CMD ["python", "-c", "\\')
