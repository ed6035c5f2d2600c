"""Rules for docker-compose.lakehouse.yml that its schema does not know."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.commands.init_env import COMPOSE_FILE, add_secrets, wanted_secrets
from pipelines.contract import load_contracts
from pipelines.errors import LakehouseError
from tests.stack.native.components import DEBEZIUM

REPOSITORY = COMPOSE_FILE.parent
CONTENT: dict[str, Any] = yaml.safe_load(COMPOSE_FILE.read_text())
SERVICES: dict[str, dict[str, Any]] = CONTENT["services"]
# Trino's releases have one number.
PINNED = re.compile(r"[a-z0-9./-]+:v?\d+\.\d+[\w.-]*|trinodb/trino:\d+")
# An access key is a user's name.
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|(?<!ACCESS_)KEY$")
MEGABYTES = {"M": 1, "G": 1024}

# Megabytes that the services of a profile may take, with those that they depend on.
PROFILES = {
    "core": 10688, "flows": 9920, "ml": 2496, "models": 13888, "lineage": 1536, "bi": 2688,
    "monitoring": 640, "mariadb": 3008,
}  # fmt: skip

each_service = pytest.mark.parametrize("name", SERVICES)


def runs_once(service: dict[str, Any]) -> bool:
    return service["restart"] == "on-failure"


@each_service
def test_images_are_pinned(name: str) -> None:
    assert PINNED.fullmatch(SERVICES[name]["image"])


@each_service
def test_secrets_are_never_literal(name: str) -> None:
    for variable, value in SERVICES[name].get("environment", {}).items():
        if SECRET.search(variable):
            assert re.fullmatch(r"\$\{[A-Z0-9_]+:\?run lakehouse init-env\}", value), variable


@each_service
def test_services_that_stay_have_a_health_check_and_all_have_limits(name: str) -> None:
    service = SERVICES[name]
    assert ("healthcheck" in service) != runs_once(service)
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


@each_service
def test_dependencies_are_waited_for_until_they_can_be_used(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        once = runs_once(SERVICES[other])
        expected = "service_completed_successfully" if once else "service_healthy"
        assert how["condition"] == expected


@each_service
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", []))


@each_service
def test_mounts_are_files_of_this_repository_or_named_volumes(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source, _, *mode = volume.split(":")
        if source.startswith("."):
            assert (REPOSITORY / source).exists(), source
            assert mode == ["ro"], source
        else:
            assert source in CONTENT["volumes"]


def megabytes(services: list[dict[str, Any]]) -> int:
    limits = [service["deploy"]["resources"]["limits"]["memory"] for service in services]
    return sum(int(limit[:-1]) * MEGABYTES[limit[-1]] for limit in limits)


def ends_before_a_larger_one_begins(name: str) -> bool:
    waiting = [s for s in SERVICES.values() if name in s.get("depends_on", {})]
    return runs_once(SERVICES[name]) and any(
        megabytes([service]) >= megabytes([SERVICES[name]]) for service in waiting
    )


def test_all_services_at_once_fit_into_sixteen_gigabytes_and_three_of_the_trainer() -> None:
    at_once = [s for name, s in SERVICES.items() if not ends_before_a_larger_one_begins(name)]
    together = megabytes(at_once)
    # What learns comes on top, on whichever machine it runs.
    trainer = megabytes([SERVICES["trainer"]])
    assert together - trainer <= 16 * 1024
    assert together <= 19 * 1024
    docs = (REPOSITORY / "docs/deploy/compose.md").read_text()
    assert f"together are limited to {together:,} MB" in docs
    assert f"{trainer:,} MB of it are the trainer's" in docs


def test_the_image_of_the_platform_can_be_made_of_what_is_let_into_it() -> None:
    dockerfile = (REPOSITORY / "infra/platform/Dockerfile").read_text()
    let_in = set((REPOSITORY / ".dockerignore").read_text().splitlines())
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "pipelines" in sources
    for source in sources:
        assert (REPOSITORY / source).exists(), source
        assert f"!{source}" in let_in, source


def test_packages_of_the_wheel_are_in_the_image() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    dockerfile = (REPOSITORY / "infra/platform/Dockerfile").read_text()
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        assert f"COPY {package} ./source/{package}\n" in dockerfile


@pytest.mark.parametrize(("profile", "most"), PROFILES.items())
def test_a_profile_takes_no_more_memory_than_the_docs_tell(profile: str, most: int) -> None:
    members = [service for service in SERVICES.values() if profile in service["profiles"]]
    assert megabytes(members) == most
    told = (REPOSITORY / "docs/deploy/compose.md").read_text()
    assert f"| `{profile}` |" in told
    (row,) = [line for line in told.splitlines() if line.startswith(f"| `{profile}` |")]
    assert f"| {most:,} MB |" in row


def test_every_service_is_in_a_profile_that_is_told() -> None:
    assert all(service["profiles"] for service in SERVICES.values())
    assert {p for service in SERVICES.values() for p in service["profiles"]} == set(PROFILES)


@each_service
def test_a_profile_brings_all_that_its_services_depend_on(name: str) -> None:
    for other in SERVICES[name].get("depends_on", {}):
        assert set(SERVICES[name]["profiles"]) <= set(SERVICES[other]["profiles"]), other


def test_no_port_of_this_machine_is_taken_twice_and_the_docs_tell_each() -> None:
    ports = {
        name: port.split(":")[1]
        for name, service in SERVICES.items()
        for port in service.get("ports", [])
    }
    assert len(set(ports.values())) == len(ports)
    rows = (REPOSITORY / "docs/deploy/compose.md").read_text().splitlines()
    for name in SERVICES:
        (row,) = [line for line in rows if line.startswith(f"| {name} |")]
        assert row.split("|")[2].split(" (")[0].strip() == ports.get(name, "")


def test_every_service_with_a_database_is_given_a_role_of_its_own() -> None:
    script = (REPOSITORY / "infra/platform-db/init/10-databases.sh").read_text()
    owned = dict(re.findall(r"^own (\w+) (\w+)$", script, re.MULTILINE))
    given = SERVICES["platform-db"]["environment"]
    assert set(owned.values()) <= set(given)
    used = {
        match[1]
        for name, service in SERVICES.items()
        if name != "platform-db"
        for match in [re.search(r"\$\{((?!SHOP|CDC|DEPOT)\w+_DB_PASSWORD):", str(service))]
        if match
    }
    assert used == set(owned.values())


@pytest.mark.parametrize(
    ("file", "service"),
    [
        ("grafana/provisioning/datasources/prometheus.yml", "grafana"),
        ("marquez/marquez.yml", "marquez"),
        ("mlflow/start.sh", "mlflow"),
        ("platform-db/init/10-databases.sh", "platform-db"),
        ("redis/start.sh", "redis"),
        ("s3/init.sh", "s3-init"),
        ("superset/superset_config.py", "superset"),
        ("superset/init.py", "superset-init"),
    ],
)
def test_a_service_is_given_each_variable_that_its_files_ask_for(file: str, service: str) -> None:
    text = (REPOSITORY / "infra" / file).read_text()
    asked = re.findall(r"\$\{?([A-Z][A-Z0-9_]+)|environ\[\"(\w+)\"\]|\"(\w+_PASSWORD)\"", text)
    names = {name for found in asked for name in found if name}
    assert names
    assert names <= set(SERVICES[service]["environment"])


@pytest.mark.parametrize(
    ("service", "switches"),
    [
        ("prefect", {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}),
        ("mlflow", {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}),
        (
            "grafana",
            {
                "GF_ANALYTICS_REPORTING_ENABLED": "false",
                "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
                "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
                "GF_NEWS_NEWS_FEED_ENABLED": "false",
                "GF_PLUGINS_PREINSTALL_DISABLED": "true",
                "GF_SECURITY_DISABLE_GRAVATAR": "true",
            },
        ),
    ],
)
def test_a_service_that_would_call_out_is_told_not_to(
    service: str, switches: dict[str, str]
) -> None:
    assert switches.items() <= SERVICES[service]["environment"].items()


@each_service
def test_an_image_of_our_own_is_built_of_the_folder_of_its_name(name: str) -> None:
    service = SERVICES[name]
    image = service["image"].split(":")[0]
    owner, _, folder = image.partition("/")
    assert ("build" in service) == (owner == "lakehouse")
    if "build" in service:
        build = service["build"]
        # The platform itself is made of the whole repository.
        file = REPOSITORY / build["context"] / build.get("dockerfile", "Dockerfile")
        assert file == REPOSITORY / "infra" / folder / "Dockerfile"
        assert file.is_file()


@pytest.mark.parametrize("service", ["prefect", "mlflow", "superset"])
def test_an_image_is_named_after_the_release_in_its_lock(service: str) -> None:
    lock = (REPOSITORY / "infra" / service / "requirements.txt").read_text()
    package = {"superset": "apache-superset"}.get(service, service)
    (release,) = re.findall(rf"^{package}==(\S+)", lock, re.MULTILINE)
    assert SERVICES[service]["image"] == f"lakehouse/{service}:{release}"


def test_the_connector_captures_every_table_under_a_contract() -> None:
    connector = yaml.safe_load((REPOSITORY / "infra/connect/connectors/shop.json").read_text())
    tables = load_contracts(REPOSITORY / "dbt_project").tables
    assert {table.server for table in tables} == {connector["topic.prefix"]}
    assert {table.namespace for table in tables} == {connector["schema.include.list"]}
    # What the landing stands on: see docs/deploy/compose.md.
    assert connector["skipped.operations"] == "none"
    assert connector["decimal.handling.mode"] == "string"
    assert connector["exactly.once.support"] == "required"


@pytest.mark.parametrize(
    "file", ["infra/sqlserver/connector.json", "infra/mariadb/connectors/depot.json"]
)
def test_other_connectors_tell_what_the_landing_stands_on(file: str) -> None:
    shop, other = (
        yaml.safe_load((REPOSITORY / name).read_text())
        for name in ("infra/connect/connectors/shop.json", file)
    )
    for setting in (
        "exactly.once.support", "skipped.operations", "tombstones.on.delete",
        "decimal.handling.mode", "time.precision.mode", "provide.transaction.metadata",
    ):  # fmt: skip
        assert other[setting] == shop[setting], setting


def test_connectors_of_a_profile_are_registered_by_a_service_of_that_profile() -> None:
    registering = {
        volume.split(":")[0]: service["profiles"]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if "/connectors:" in volume
    }
    assert registering == {
        "./infra/connect/connectors": ["core", "flows", "models"],
        "./infra/mariadb/connectors": ["mariadb"],
    }


def test_variables_of_connector_files_are_given_to_connect() -> None:
    given = SERVICES["connect"]["environment"]
    for folder in ("infra/connect/connectors", "infra/mariadb/connectors"):
        for file in (REPOSITORY / folder).glob("*.json"):
            assert set(re.findall(r"\$\{env:(\w+)\}", file.read_text())) <= set(given), file


def test_the_native_connectors_are_those_of_the_image() -> None:
    dockerfile = (REPOSITORY / "infra/connect/Dockerfile").read_text()
    arguments = re.findall(r"^ARG (\w+)=(\S+)$", dockerfile, re.MULTILINE)
    assert {name.lower(): version for name, version in arguments} == DEBEZIUM


def test_what_the_image_of_the_platform_copies_is_sent_to_its_build() -> None:
    """And every package that the wheel is made of is copied."""
    dockerfile = (REPOSITORY / "infra/platform/Dockerfile").read_text()
    copied = {
        name
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)
        for name in line.split()
    }
    ignore = (REPOSITORY / ".dockerignore").read_text().splitlines()
    assert ignore[1] == "*"
    assert copied <= {line[1:] for line in ignore if line.startswith("!")}
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) <= copied


# init-env


def test_missing_secrets_are_added_and_others_kept(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("LAKEHOUSE_THREADS=4\nCDC_DB_PASSWORD=mine")
    names = wanted_secrets()
    assert {"CDC_DB_PASSWORD", "POSTGRES_PASSWORD"} <= set(names)
    added = add_secrets(file, names)
    assert set(added) == set(names) - {"CDC_DB_PASSWORD"}
    told = dict(line.split("=", 1) for line in file.read_text().splitlines())
    assert told["CDC_DB_PASSWORD"] == "mine"
    assert len({told[name] for name in added}) == len(added)
    assert all(len(told[name]) >= 32 for name in added)
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    assert add_secrets(file, names) == []
    assert file.read_text() == before


def test_a_missing_compose_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(LakehouseError, match="is missing"):
        wanted_secrets(tmp_path / "docker-compose.yml")
