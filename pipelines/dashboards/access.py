"""Roles and row-level security on a running Superset, made what the assets say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipelines.dashboards.assets import Assets, OwnRows, Role
from pipelines.dashboards.bundle import DATABASE_NAME
from pipelines.dashboards.client import Superset
from pipelines.dashboards.differences import Difference
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
    there = _There.of(superset)
    for name in sorted(set(assets.roles) - set(there.roles)):
        there.roles[name] = superset.call("POST", f"{_ROLES}/", json={"name": name})["id"]
    known = {each["name"]: each["id"] for each in superset.all(_RULES, ["id", "name"])}
    for name, wanted in there.rules(assets).items():
        if name in known:
            superset.call("PUT", f"{_RULES}/{known[name]}", json=wanted)
        else:
            superset.call("POST", f"{_RULES}/", json=wanted)
    for name in assets.roles:
        permissions = there.permissions(superset, assets, name)
        if permissions != _permissions(superset, there.roles[name]):
            told = {"permission_view_menu_ids": sorted(permissions)}
            superset.call("POST", f"{_ROLES}/{there.roles[name]}/permissions", json=told)


def changed_by_hand(superset: Superset, assets: Assets) -> list[Difference]:
    """What a deploy would change of roles and rules; raises as `reconcile`."""
    there = _There.of(superset)
    found = [
        Difference("role", name, "", "", name, None)
        for name in sorted(set(assets.roles) - set(there.roles))
    ]
    for name in sorted(set(assets.roles) & set(there.roles)):
        wanted = there.permissions(superset, assets, name)
        held = _permissions(superset, there.roles[name])
        if wanted != held:
            here, on_server = (f"{len(each):,}" for each in (wanted - held, held - wanted))
            told = Difference("role", name, "", "permissions of one side only", here, on_server)
            found.append(told)
    columns = ["name", "clause", "tables.id", "roles.id"]
    known = {each["name"]: each for each in superset.all(_RULES, columns)}
    for name, rule in there.rules(assets).items():
        if name not in known:
            found.append(Difference("rule of rows", name, "", "", name, None))
            continue
        held_rule = {
            "clause": known[name]["clause"],
            "tables": sorted(each["id"] for each in known[name]["tables"]),
            "roles": sorted(each["id"] for each in known[name]["roles"]),
        }
        found += [
            Difference("rule of rows", name, "", what, rule[what], value)
            for what, value in held_rule.items()
            if rule[what] != value
        ]
    return found


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


@dataclass(frozen=True)
class _There:
    """Numbers by which the server knows what the assets name.

    Attributes:
        roles: by name.
        datasets: id and name of the table, by uuid.
        to_read: permissions to read a dataset, by the server's name for it.
    """

    roles: dict[str, int]
    datasets: dict[str, dict[str, Any]]
    to_read: dict[str, int]

    @classmethod
    def of(cls, superset: Superset) -> _There:
        datasets = superset.all("dataset", ["id", "uuid", "table_name"])
        permissions = superset.all(_PERMISSIONS, ["id", "permission.name", "view_menu.name"])
        return cls(
            {each["name"]: each["id"] for each in superset.all(_ROLES, ["id", "name"])},
            {str(each["uuid"]): each for each in datasets},
            {
                each["view_menu"]["name"]: each["id"]
                for each in permissions
                if each["permission"]["name"] == "datasource_access"
            },
        )

    def rules(self, assets: Assets) -> dict[str, dict[str, Any]]:
        """What each rule is to be, in the server's words."""
        return {
            name: {
                "name": name,
                "description": "Kept as code",
                "filter_type": "Regular",
                "tables": sorted(self._dataset(assets, each)["id"] for each in rule.datasets),
                "roles": [self.roles[role_name]],
                # Rules of several roles that a user has are alternatives: either's rows are seen.
                "group_key": rule.column,
                "clause": clause(rule),
            }
            for role_name, role in assets.roles.items()
            if role_name in self.roles
            for name, rule in rules_of(role_name, role).items()
        }

    def permissions(self, superset: Superset, assets: Assets, name: str) -> set[int]:
        """What a role may do: as the roles that it builds on, and read its datasets."""
        granted = {self._to_read(assets, each) for each in assets.granted_to(name)}
        for built_on in assets.roles[name].builds_on:
            if built_on not in self.roles:
                raise LakehouseError(
                    f"Superset has no role {built_on}",
                    "run its `superset init`, then deploy again",
                )
            granted |= _permissions(superset, self.roles[built_on])
        return granted

    def _dataset(self, assets: Assets, name: str) -> dict[str, Any]:
        uuid = str(assets.datasets[name].uuid)
        if uuid not in self.datasets:
            raise LakehouseError(
                f"Superset has no dataset {name}", "run `lakehouse dashboards deploy`"
            )
        return self.datasets[uuid]

    def _to_read(self, assets: Assets, name: str) -> int:
        there = self._dataset(assets, name)
        return self.to_read[f"[{DATABASE_NAME}].[{there['table_name']}](id:{there['id']})"]


def _permissions(superset: Superset, role: int) -> set[int]:
    found = superset.call("GET", f"{_ROLES}/{role}/permissions/")["result"]
    return {each["id"] for each in found}
