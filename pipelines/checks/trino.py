"""Checks of the Trino server on which the models can be built."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pipelines.checks.finding import Finding
from pipelines.lake.trino import asker
from pipelines.settings import Settings

# The first release that reads column indexes of Spark's files right (trinodb/trino#28885).
_TRUSTED_INDEX = 481
_SECONDS = 10.0


def check(settings: Settings) -> Iterator[Finding]:
    """Whether it answers, lets this user in, and reads files by a way that is right.

    Raises:
        LakehouseError: it does not answer, or refuses.
    """
    if settings.trino_host is None:
        return
    rows = asker(settings, _SECONDS)
    ((version,),) = rows("select max(node_version) from system.runtime.nodes")
    yield Finding("trino", True, f"version {version}")
    catalog = settings.trino_catalog
    if [catalog] not in rows("show catalogs"):
        yield Finding(
            "trino: catalog", False, f"there is no catalog {catalog}",
            "correct LAKEHOUSE_TRINO_CATALOG, or what the user may see",
        )  # fmt: skip
        return
    # Asks the metastore, too.
    schemas = {name for (name,) in rows(f'show schemas from "{catalog}"')}
    yield Finding("trino: catalog", True, f"{catalog} has {len(schemas)} schemas")
    told = rows(f"show session like '{catalog}.parquet_use_column_index'")
    number = re.match(r"\d+", version)
    is_old = number is not None and int(number[0]) < _TRUSTED_INDEX
    wrong = is_old and bool(told) and told[0][1] == "true"
    yield Finding(
        "trino: column index", not wrong, "may be used" if told and told[0][1] == "true" else "off",
        "set parquet.use-column-index=false in the catalog: this release deletes wrong rows of "
        "files that Spark wrote" if wrong else "",
    )  # fmt: skip
