"""The registry: runs and versions of models in MLflow, who is champion, and what it may load.

MLflow keeps no digest of what it stores: an altered file would be loaded in silence. Each version
carries the SHA-256 of its model as a tag, outside the artefact, and is loaded only if it fits.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Nothing calls out. Read when MLflow is imported.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
# The client repeats a request for minutes by itself; what waits for it is a person.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# Standard output is for what a command tells.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

from pipelines.errors import LakehouseError, Unavailable, UsageError
from pipelines.ml.digest import digest
from pipelines.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION, CHALLENGER = "champion", "challenger"
_DIGEST, _CARD, _VERDICT, _TRAINED_UNTIL = "sha256", "model_card", "verdict", "trained_until"
_FORMER = "former_champions"
_ARTIFACTS = "artifacts"


@dataclass(frozen=True)
class Version:
    """A version of a registered model.

    Attributes:
        run_id: of MLflow's run that trained it.
        sha256: of its files.
        verdict: why it was promoted or refused, in a sentence.
        trained_until: the last day that it has seen.
    """

    kind: str
    number: int
    run_id: str
    aliases: tuple[str, ...]
    sha256: str
    verdict: str
    trained_until: str

    @property
    def name(self) -> str:
        """As predictions tell it: `forecast/3`."""
        return f"{self.kind}/{self.number}"


class Registry:
    """Opens MLflow: the server of the settings, else a database and a folder in the lake's home.

    Raises:
        LakehouseError: MLflow is not installed.
        Unavailable: the server is not reached, or its database is locked or gone.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            import mlflow
        except ImportError as error:
            raise LakehouseError(
                f"{error.name} is not installed", "pip install 'lakehouse-platform[ml]'"
            ) from None
        for name in ("alembic", "mlflow"):
            logging.getLogger(name).setLevel(logging.WARNING)
        self._settings = settings
        self._mlflow: Any = mlflow
        self._where = settings.mlflow_tracking_uri or f"sqlite:///{settings.mlflow / 'mlflow.db'}"
        if settings.mlflow_tracking_uri is None:
            settings.mlflow.mkdir(parents=True, exist_ok=True)
        self._export_credentials()
        self._use()
        with self.reached():
            self.client: MlflowClient = mlflow.MlflowClient()

    def _use(self) -> None:
        """Point MLflow to the store, in this process alone.

        It tells processes to come by an environment variable; as a setting that would mean a
        server, for whichever home is opened next.
        """
        name = "MLFLOW_TRACKING_URI"
        given = os.environ.get(name)
        self._mlflow.set_tracking_uri(self._where)
        if given is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = given

    def _export_credentials(self) -> None:
        """MLflow reads them from the environment alone."""
        for name in ("username", "password", "token"):
            value = getattr(self._settings, f"mlflow_tracking_{name}")
            if value is not None:
                os.environ[f"MLFLOW_TRACKING_{name.upper()}"] = value

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Say clearly that MLflow is down, whichever way it shows."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError) as error:
            told = " ".join(str(error).split())
            signs = ("max retries", "connection", "refused", "timed out", "operationalerror")
            if not any(sign in told.lower() for sign in signs):
                raise
            raise Unavailable(
                f"MLflow at {self._where.rpartition('@')[2]} is not reached: {told[:300]}",
                "start it, or correct MLFLOW_TRACKING_URI; then run the same command again",
            ) from error

    def experiment(self, kind: str) -> str:
        """Id of the experiment that holds a kind's runs; made if need be."""
        place = self._own_artifacts.as_uri() if self._is_local else None
        with self.reached():
            found = self.client.get_experiment_by_name(kind)
            if found is not None and self._is_local and found.artifact_location != place:
                # The home has moved, and MLflow would go on writing to where it was.
                self.client.rename_experiment(
                    found.experiment_id, f"{kind} of {found.artifact_location}"
                )
                found = None
            if found is not None:
                return str(found.experiment_id)
            return str(self.client.create_experiment(kind, artifact_location=place))

    def register(
        self, kind: str, model_uri: str, run_id: str, tags: Mapping[str, str], card: str
    ) -> Version:
        """Make a logged model a version of its kind."""
        with self.reached():
            if not self.client.search_registered_models(f"name = '{kind}'"):
                self.client.create_registered_model(kind)
            made = self.client.create_model_version(
                kind,
                model_uri,
                run_id,
                tags=dict(tags),
                description=card,
                model_id=model_uri.rpartition("/")[2],
            )
            self.client.set_registered_model_alias(kind, CHALLENGER, made.version)
        return self.version(kind, str(made.version))

    def versions(self, kind: str) -> list[Version]:
        """All versions of a kind, newest first."""
        with self.reached():
            found = self.client.search_model_versions(f"name = '{kind}'")
            aliases = self._aliases(kind) if found else {}
        versions = [_version(each, aliases) for each in found]
        return sorted(versions, key=lambda each: -each.number)

    def version(self, kind: str, which: str) -> Version:
        """A version by its number or alias.

        Raises:
            UsageError: there is none.
        """
        for each in self.versions(kind):
            if which == str(each.number) or which in each.aliases:
                return each
        raise UsageError(
            f"there is no {which} of the model {kind}", f"`lakehouse models list {kind}` shows all"
        )

    def champion(self, kind: str) -> Version | None:
        """The version that predictions are made with; None before the first promotion."""
        return next((each for each in self.versions(kind) if CHAMPION in each.aliases), None)

    def card(self, version: Version) -> str:
        """Its model card, in Markdown."""
        with self.reached():
            found = self.client.get_model_version(version.kind, str(version.number))
        return found.description or ""

    def folder(self, version: Version) -> Path:
        """The files of a version, verified.

        Raises:
            LakehouseError: they are not those that were registered, or are gone.
        """
        with self.reached():
            place = self._kept(version) if self._is_local else self._fetched(version)
        folder = place / "artifacts" / "model"
        if not folder.is_dir():
            raise _damaged(version, "its files are gone")
        if digest(folder) != version.sha256:
            raise _damaged(version, "its files are not those that were registered")
        return folder

    def _kept(self, version: Version) -> Path:
        """Where the files lie in the home, wherever that was when they were made."""
        found = self.client.get_model_version(version.kind, str(version.number))
        model = self.client.get_logged_model(str(found.source).rpartition("/")[2])
        inside = str(model.artifact_location).rpartition(f"/{_ARTIFACTS}/")[2]
        return self._own_artifacts / inside

    def _fetched(self, version: Version) -> Path:
        from mlflow.exceptions import MlflowException

        uri = f"models:/{version.kind}/{version.number}"
        place = self._settings.scratch / "models" / f"{version.kind}-{version.number}"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(parents=True)
        try:
            return Path(self._mlflow.artifacts.download_artifacts(uri, dst_path=str(place)))
        except (MlflowException, FileNotFoundError) as error:
            if "no such" not in str(error).lower():
                raise
            raise _damaged(version, "its files are gone") from error

    @property
    def _is_local(self) -> bool:
        return self._settings.mlflow_tracking_uri is None

    @property
    def _own_artifacts(self) -> Path:
        return (self._settings.mlflow / _ARTIFACTS).absolute()

    def promote(self, version: Version) -> Version | None:
        """Make a version champion; returns the former one."""
        former = self.champion(version.kind)
        if former is not None and former.number == version.number:
            return former
        with self.reached():
            if former is not None:
                self._remember(version.kind, [*self._former(version.kind), former.number])
            self._crown(version)
        return former

    def roll_back(self, kind: str) -> Version:
        """Make the former champion champion again.

        Raises:
            LakehouseError: there was none before.
        """
        former = self._former(kind)
        if not former:
            raise LakehouseError(
                f"the model {kind} had no champion before the present one",
                f"`lakehouse models promote {kind} NUMBER` makes another version champion",
            )
        version = self.version(kind, str(former[-1]))
        with self.reached():
            self._remember(kind, former[:-1])
            self._crown(version)
        return version

    def _crown(self, version: Version) -> None:
        self.client.set_registered_model_alias(version.kind, CHAMPION, str(version.number))

    def _former(self, kind: str) -> list[int]:
        tags = self.client.get_registered_model(kind).tags
        found: list[int] = json.loads(tags.get(_FORMER, "[]"))
        return found

    def _remember(self, kind: str, numbers: list[int]) -> None:
        self.client.set_registered_model_tag(kind, _FORMER, json.dumps(numbers))

    def _aliases(self, kind: str) -> dict[str, tuple[str, ...]]:
        found: dict[str, tuple[str, ...]] = {}
        for alias, number in self.client.get_registered_model(kind).aliases.items():
            found[str(number)] = (*found.get(str(number), ()), alias)
        return found


def version_tags(sha256: str, verdict: str, trained_until: str) -> dict[str, str]:
    """What the registry keeps of a version beside its files."""
    return {_DIGEST: sha256, _VERDICT: verdict, _TRAINED_UNTIL: trained_until}


def _version(found: Any, aliases: Mapping[str, tuple[str, ...]]) -> Version:
    number, tags = str(found.version), found.tags
    return Version(
        kind=found.name,
        number=int(number),
        run_id=found.run_id,
        aliases=tuple(sorted(aliases.get(number, ()))),
        sha256=tags.get(_DIGEST, ""),
        verdict=tags.get(_VERDICT, ""),
        trained_until=tags.get(_TRAINED_UNTIL, ""),
    )


def _damaged(version: Version, why: str) -> LakehouseError:
    return LakehouseError(
        f"the model {version.name} cannot be used: {why}",
        f"`lakehouse models rollback {version.kind}` goes back to the champion before, "
        f"`lakehouse train {version.kind}` makes a new one",
    )
