"""OpenLineage's schemas, as the classes of its own client tell them, for events as JSON."""

from __future__ import annotations

import enum
import functools
import importlib
import pkgutil
import types
import typing
from collections.abc import Iterator
from typing import Any

import attr
from jsonschema import Draft202012Validator
from openlineage.client import generated
from openlineage.client.generated import base

_URI = {"type": "string", "pattern": "^(https?://|urn:).+"}
_UUID = {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}
_TIME = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}
# What the specification says of these, and the types of Python cannot.
_FORMATS = {
    "runId": _UUID, "eventTime": _TIME, "producer": _URI, "schemaURL": _URI, "_producer": _URI,
    "_schemaURL": _URI,
}  # fmt: skip
_ALWAYS = {"producer", "schemaURL", "_producer", "_schemaURL"}
_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean"}
# Under which name a facet stands, where that is not the name of its class.
_KEYS = {
    "sQL": "sql",
    "datasource": "dataSource",
    "processingEngine": "processing_engine",
    "datasetVersion": "version",
}


def errors(event: dict[str, Any]) -> list[str]:
    """What is wrong with an event; nothing if it is as the specification wants it."""
    url = event.get("schemaURL", "")
    if url != base.RunEvent._get_schema():
        return [f"{url} is not the schema of a run's event"]
    found = _violations(base.RunEvent, event)
    if not found:
        for key, facet, kind in _facets(event):
            found += [f"{key}: {error}" for error in _of_facet(key, facet, kind)]
    return found


def _of_facet(key: str, facet: dict[str, Any], kind: type) -> list[str]:
    cls = _CLASSES.get(facet["_schemaURL"])
    if cls is None:
        return [f"{facet['_schemaURL']} is no schema of a facet"]
    if not issubclass(cls, kind):
        return [f"{cls.__name__} does not belong here"]
    name = cls.__name__
    for ending in ("Facet", "InputDataset", "OutputDataset", "Dataset", "Run", "Job"):
        name = name.removesuffix(ending)
    name = name[0].lower() + name[1:]
    own = _KEYS.get(name, name)
    return [f"it is called {own}"] * (own != key) + _violations(cls, facet, strict=True)


def _violations(cls: type, content: Any, *, strict: bool = False) -> list[str]:
    return [error.message for error in _validator(cls, strict).iter_errors(content)]


@functools.cache
def _validator(cls: type, strict: bool) -> Draft202012Validator:
    definitions: dict[str, Any] = {}
    schema = _object(cls, definitions) | ({"additionalProperties": False} if strict else {})
    return Draft202012Validator(schema | {"$defs": definitions})


def _facets(event: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], type]]:
    for part, kind in (("run", base.RunFacet), ("job", base.JobFacet)):
        for key, facet in event[part].get("facets", {}).items():
            yield key, facet, kind
    of_run = {
        "inputs": ("inputFacets", base.InputDatasetFacet),
        "outputs": ("outputFacets", base.OutputDatasetFacet),
    }
    for part, (own, own_kind) in of_run.items():
        for dataset in event[part]:
            for key, facet in dataset.get("facets", {}).items():
                yield key, facet, base.DatasetFacet
            for key, facet in dataset.get(own, {}).items():
                yield key, facet, own_kind


def _object(cls: type, definitions: dict[str, Any]) -> dict[str, Any]:
    """The JSON schema of one of the client's classes; those that it names go to the definitions."""
    hints = typing.get_type_hints(cls)
    fields = attr.fields(cls)
    required = [f.name for f in fields if f.default is attr.NOTHING or f.name in _ALWAYS]
    properties = {
        f.name: _FORMATS.get(f.name) or _of_type(hints[f.name], definitions) for f in fields
    }
    return {"type": "object", "properties": properties, "required": required}


def _of_type(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        (hint,) = [one for one in arguments if one is not type(None)]
        return _of_type(hint, definitions)
    if origin is list:
        return {"type": "array", "items": _of_type(arguments[0], definitions)}
    if origin is dict:
        return {"type": "object", "additionalProperties": _of_type(arguments[1], definitions)}
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return {"enum": [one.value for one in hint]}
    if hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    if not (isinstance(hint, type) and attr.has(hint)):
        return {}
    name = f"{hint.__module__}.{hint.__name__}"
    if name not in definitions:
        # Noted first: some hold others of their own kind.
        definitions[name] = {}
        definitions[name].update(_object(hint, definitions))
    return {"$ref": f"#/$defs/{name}"}


def _classes() -> Iterator[tuple[str, type]]:
    for module in pkgutil.iter_modules(generated.__path__):
        for cls in vars(importlib.import_module(f"{generated.__name__}.{module.name}")).values():
            if isinstance(cls, type) and issubclass(cls, base.BaseFacet):
                yield cls._get_schema(), cls


_CLASSES = dict(_classes())
