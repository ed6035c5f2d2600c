"""The facets that events of this platform carry, each with the version of its schema."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.lineage.events import facet

Facet = dict[str, Any]

# A column's way into another one: the value itself goes there …
IDENTITY, TRANSFORMATION, AGGREGATION = "IDENTITY", "TRANSFORMATION", "AGGREGATION"
DIRECT = (IDENTITY, TRANSFORMATION, AGGREGATION)
# … or decides which rows there are, or which value is taken.
JOIN, FILTER, GROUP_BY = "JOIN", "FILTER", "GROUP_BY"
SORT, WINDOW, CONDITIONAL = "SORT", "WINDOW", "CONDITIONAL"


@dataclass(frozen=True)
class Origin:
    """A column that another one comes from.

    Attributes:
        ways: how it gets there, of `DIRECT` or of the others above.
        masking: how its value is made unreadable on that way, if it is.
    """

    namespace: str
    name: str
    column: str
    ways: tuple[str, ...]
    masking: str | None = None


@dataclass(frozen=True)
class Check:
    """What one check of a table told.

    Attributes:
        rule: name of the rule.
        column: the column concerned; None where it is the table.
        severity: `error` or `warn`: whether a failure stops the run.
    """

    rule: str
    success: bool
    column: str | None = None
    severity: str = "error"
    description: str | None = None


def schema(columns: Mapping[str, str], descriptions: Mapping[str, str] | None = None) -> Facet:
    """Columns in their order: name → type."""
    told = descriptions or {}
    fields = [
        {"name": name, "ordinal_position": place}
        | ({"type": kind} if kind else {})
        | ({"description": told[name]} if told.get(name) else {})
        for place, (name, kind) in enumerate(columns.items(), start=1)
    ]
    return facet("1-2-0/SchemaDatasetFacet", {"fields": fields})


def column_lineage(columns: Mapping[str, Sequence[Origin]], rows: Sequence[Origin] = ()) -> Facet:
    """Which columns each column comes from, and which ones decide about the rows."""
    fields = {
        name: {"inputFields": [_input_field(origin) for origin in origins]}
        for name, origins in columns.items()
    }
    return facet(
        "1-2-0/ColumnLineageDatasetFacet",
        {"fields": fields, "dataset": [_input_field(origin) for origin in rows]},
    )


def _input_field(origin: Origin) -> dict[str, Any]:
    masked = {"masking": True, "description": origin.masking} if origin.masking else {}
    return {
        "namespace": origin.namespace,
        "name": origin.name,
        "field": origin.column,
        "transformations": [
            {"type": "DIRECT" if way in DIRECT else "INDIRECT", "subtype": way} | masked
            for way in origin.ways
        ],
    }


def dataset_documentation(text: str) -> Facet:
    """A description of a dataset."""
    return facet("1-1-0/DocumentationDatasetFacet", {"description": text})


def job_documentation(text: str) -> Facet:
    """A description of a job."""
    return facet("1-1-0/DocumentationJobFacet", {"description": text})


def dataset_owner(name: str) -> Facet:
    """Who answers for a dataset."""
    return facet("1-0-1/OwnershipDatasetFacet", {"owners": [{"name": name}]})


def job_owner(name: str) -> Facet:
    """Who answers for a job."""
    return facet("1-0-1/OwnershipJobFacet", {"owners": [{"name": name}]})


def sql(query: str, dialect: str) -> Facet:
    """The statement that a job runs."""
    return facet("1-1-0/SQLJobFacet", {"query": query, "dialect": dialect})


def job_type(integration: str, kind: str) -> Facet:
    """What kind of job it is: `DBT`, `MODEL`."""
    told = {"processingType": "BATCH", "integration": integration, "jobType": kind}
    return facet("2-0-4/JobTypeJobFacet", told)


def engine(name: str, version: str) -> Facet:
    """What computes."""
    return facet("1-1-1/ProcessingEngineRunFacet", {"name": name, "version": version})


def failure(message: str) -> Facet:
    """Why a run failed."""
    told = {"message": message, "programmingLanguage": "python"}
    return facet("1-0-1/ErrorMessageRunFacet", told)


def rows_written(count: int) -> Facet:
    """How many rows a run wrote."""
    return facet("1-0-2/OutputStatisticsOutputDatasetFacet", {"rowCount": count})


def rows_read(count: int) -> Facet:
    """How many rows a run read."""
    return facet("1-0-0/InputStatisticsInputDatasetFacet", {"rowCount": count})


def version(text: str) -> Facet:
    """Which version of a dataset a run has made."""
    return facet("1-0-1/DatasetVersionDatasetFacet", {"datasetVersion": text})


def storage(layer: str, file_format: str | None = None) -> Facet:
    """How a dataset is kept."""
    told = {"storageLayer": layer, "fileFormat": file_format}
    return facet("1-0-1/StorageDatasetFacet", told)


def data_source(name: str, uri: str) -> Facet:
    """The database or file that holds a dataset, beside others."""
    return facet("1-0-1/DatasourceDatasetFacet", {"name": name, "uri": uri})


def location(namespace: str, name: str) -> Facet:
    """Where a dataset lies: another name of it alone, by which a server may know it, too."""
    known = [{"namespace": namespace, "name": name, "type": "LOCATION"}]
    return facet("1-0-1/SymlinksDatasetFacet", {"identifiers": known})


def assertions(checks: Iterable[Check]) -> Facet:
    """What checks of a dataset told."""
    told = [
        {"assertion": check.rule, "success": check.success, "severity": check.severity}
        | ({"column": check.column} if check.column else {})
        | ({"description": check.description} if check.description else {})
        for check in checks
    ]
    return facet("1-1-0/DataQualityAssertionsDatasetFacet", {"assertions": told})
