"""Roles and row-level security on a running Superset, made what the assets say."""

from __future__ import annotations

import json
from typing import Any

from pipelines.dashboards.assets import Assets, OwnRows, Role
from pipelines.dashboards.bundle import DATABASE_NAME
from pipelines.dashboards.client import Superset
from pipelines.errors import LakehouseError

BUILT_IN = frozenset({"Admin", "Alpha", "Gamma", "Public", "sql_lab"})
_ROLES, _RULES = "security/roles", "rowlevelsecurity"
_PERMISSIONS = "security/permissions-resources"


def reconcile(superset: Superset, assets: Assets) -> None:
    """Make roles, their permissions and their rules what the assets say.

    A role reads nothing before the rules stand that it is bound to.

    Raises:
        LakehouseError: Superset lacks what the assets build on.
    """
    roles = {each["name"]: each["id"] for each in superset.all(_ROLES, ["id", "name"])}
    for name in sorted(set(assets.roles) - set(roles)):
        roles[name] = superset.call("POST", f"{_ROLES}/", json={"name": name})["id"]
    datasets = _datasets(superset)
    _rule(superset, assets, roles, datasets)
    to_read = _to_read(superset)
    for name, role in assets.roles.items():
        granted = {to_read[_resource(datasets, assets, each)] for each in assets.granted_to(name)}
        inherited = {
            permission
            for built_on in role.builds_on
            for permission in _permissions(superset, _known(roles, built_on))
        }
        if granted | inherited != _permissions(superset, roles[name]):
            told = {"permission_view_menu_ids": sorted(granted | inherited)}
            superset.call("POST", f"{_ROLES}/{roles[name]}/permissions", json=told)


def clause(rule: OwnRows) -> str:
    """The condition of a rule, in the templates that Superset fills in for whoever asks."""
    own = f"{json.dumps(rule.of, sort_keys=True)}.get(user, [])"
    # Superset keeps answers apart by user only where it finds this call with no brace before it.
    return (
        f"{{% set user = current_username() %}}{{% set own = {own} %}}"
        # An empty list is no SQL.
        f"{{% if own %}}{rule.column} in {{{{ own | where_in }}}}{{% else %}}1 = 0{{% endif %}}"
    )


def rules_of(name: str, role: Role) -> dict[str, OwnRows]:
    """The rules of a role, by the name they have on the server."""
    return {f"{name}: {each.column}": each for each in role.rows}


def _rule(
    superset: Superset, assets: Assets, roles: dict[str, int], datasets: dict[str, dict[str, Any]]
) -> None:
    there = {each["name"]: each["id"] for each in superset.all(_RULES, ["id", "name"])}
    for role_name, role in assets.roles.items():
        for name, rule in rules_of(role_name, role).items():
            told = {
                "name": name,
                "description": "Kept as code",
                "filter_type": "Regular",
                "tables": [
                    datasets[str(assets.datasets[each].uuid)]["id"] for each in rule.datasets
                ],
                "roles": [roles[role_name]],
                # Rules of several roles that a user has are alternatives: either's rows are seen.
                "group_key": rule.column,
                "clause": clause(rule),
            }
            if name in there:
                superset.call("PUT", f"{_RULES}/{there[name]}", json=told)
            else:
                superset.call("POST", f"{_RULES}/", json=told)


def _datasets(superset: Superset) -> dict[str, dict[str, Any]]:
    found = superset.all("dataset", ["id", "uuid", "table_name"])
    return {str(each["uuid"]): each for each in found}


def _resource(datasets: dict[str, dict[str, Any]], assets: Assets, name: str) -> str:
    """What Superset calls a dataset where it grants access to it."""
    there = datasets[str(assets.datasets[name].uuid)]
    return f"[{DATABASE_NAME}].[{there['table_name']}](id:{there['id']})"


def _to_read(superset: Superset) -> dict[str, int]:
    found = superset.all(_PERMISSIONS, ["id", "permission.name", "view_menu.name"])
    return {
        each["view_menu"]["name"]: each["id"]
        for each in found
        if each["permission"]["name"] == "datasource_access"
    }


def _permissions(superset: Superset, role: int) -> set[int]:
    found = superset.call("GET", f"{_ROLES}/{role}/permissions/")["result"]
    return {each["id"] for each in found}


def _known(roles: dict[str, int], name: str) -> int:
    if name not in roles:
        raise LakehouseError(
            f"Superset has no role {name}", "run its `superset init`, then deploy again"
        )
    return roles[name]
