"""MLflow's model registry: versions, aliases, tags, and the bundle of a version on this disk.

`register` pins every version with the tag `bundle_sha256`: the sha256 of the bundle's
manifest.json, which holds the sha256 of the other files. `download` returns no bundle whose
files differ from the pin, so weights and manifest cannot be replaced together either.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys_mtl.errors import UserError, did_you_mean, wrong
from recsys_mtl.tracking import mlflow_limits as limits
from recsys_mtl.tracking.bundle_cache import PIN, kept, require_pinned
from recsys_mtl.tracking.logged_model import download_bundle
from recsys_mtl.tracking.mlflow_process import pointed
from recsys_mtl.tracking.mlflow_store import Store, pages
from recsys_mtl.tracking.registered import create_name, find_name, find_versions, link
from recsys_mtl.tracking.version import Version, from_mlflow, parse, require_name, tag_texts

__all__ = ["CHAMPION", "PREVIOUS", "Registry", "Version"]
CHAMPION, PREVIOUS = "champion", "previous"


class Registry(Store):
    """The model registry of one tracking URI; every method raises `UserError` where it fails.

    Args:
        uri: else `MLFLOW_TRACKING_URI`, else `sqlite:///mlflow.db`; a SQLite file has to exist.
    """

    def resolve(self, model: str, *, where: str) -> Version:
        """The version that `models:/NAME/3`, `models:/NAME@champion` or the short form names.

        Args:
            model: with or without `models:/`.
            where: option that the text comes from.

        Raises:
            UserError: malformed; or no such name, version or alias, with those that exist.
        """
        name, number, alias = parse(model, where=where)
        versions = self.versions(name)
        for version in versions:
            if alias in version.aliases or number == version.number:
                return version
        existing = [str(v.number) for v in reversed(versions)]
        existing += [f"@{known}" for v in versions for known in v.aliases]
        raise wrong(
            f"'{name}' has no version {number}"
            if alias is None
            else f"'{name}' has no alias '{alias}'",
            where=where,
            expected=f"one of: {', '.join(existing)}" if existing else "a registered version",
            found=model,
        )

    def names(self) -> list[str]:
        """Names of all registered models, sorted."""
        with self.requesting("cannot read the model registry"):
            return sorted(model.name for model in pages(self.client.search_registered_models))

    def versions(self, name: str) -> list[Version]:
        """All versions, newest first.

        Raises:
            UserError: no registered model has that name.
        """
        aliases: dict[int, list[str]] = {}
        for alias, number in self._model(name).aliases.items():
            aliases.setdefault(int(number), []).append(alias)
        with self.requesting("cannot read the model registry"):
            stored = find_versions(self.client, name)
        versions = [from_mlflow(v, aliases.get(int(v.version), ())) for v in stored]
        return sorted(versions, key=lambda version: -version.number)

    def all_versions(self) -> list[Version]:
        """Of every registered model."""
        return [version for name in self.names() for version in self.versions(name)]

    def alias(self, name: str, alias: str) -> Version | None:
        """The version that has the alias; None where no version has it."""
        return next((v for v in self.versions(name) if alias in v.aliases), None)

    def set_alias(self, name: str, alias: str, number: int) -> None:
        """Move the alias to a version."""
        with self.requesting(f"cannot set the alias '{alias}' of '{name}'"):
            self.client.set_registered_model_alias(name, alias, str(number))

    def delete_alias(self, name: str, alias: str) -> None:
        """Delete the alias; it need not exist."""
        with self.requesting(f"cannot delete the alias '{alias}' of '{name}'"):
            self.client.delete_registered_model_alias(name, alias)

    def set_tags(self, name: str, number: int, tags: Mapping[str, str]) -> None:
        """Set tags of a version; others stay."""
        with self.requesting(f"cannot tag version {number} of '{name}'"):
            for key, value in tag_texts(tags).items():
                self.client.set_model_version_tag(name, str(number), key, value)

    def set_model_tags(self, name: str, tags: Mapping[str, str]) -> None:
        """Set tags of the registered model, over all its versions; others stay."""
        with self.requesting(f"cannot tag '{name}'"):
            for key, value in tag_texts(tags).items():
                self.client.set_registered_model_tag(name, key, value)

    def model_tags(self, name: str) -> dict[str, str]:
        """Tags of the registered model."""
        return dict(self._model(name).tags)

    def delete_model_tag(self, name: str, key: str) -> None:
        """Delete a tag of the registered model; it need not exist."""
        with self.requesting(f"cannot delete a tag of '{name}'"):
            self.client.delete_registered_model_tag(name, key)

    def require_new(self, name: str, model_uri: str, before: int | None = None) -> None:
        """Check that no version of `name`, of those before a number, is this logged model.

        Raises:
            UserError: such a version exists; the message has its number.
        """
        for version in self.versions(name) if name in self.names() else ():
            earlier = before is None or version.number < before
            if earlier and version.source == model_uri:
                what = f"this model is registered already, as version {version.number}"
                raise wrong(what, where=f"'{name}'", found=model_uri)

    def create(
        self,
        name: str,
        *,
        model_uri: str,
        run_id: str | None,
        tags: Mapping[str, str],
        description: str,
    ) -> Version:
        """Register a logged model as the next version; the name is created where it is new.

        Args:
            name: of the registered model.
            model_uri: `models:/m-…` of the logged model.
            run_id: that logged it.
            tags: of the version.
            description: Markdown, shown on the version's page; cut where it is too long.

        Raises:
            UserError: the name is not allowed, or has a version of this logged model.
        """
        require_name(name)
        with self.requesting(f"cannot register '{name}'"), pointed(self.uri):
            create_name(self.client, name)
            self.require_new(name, model_uri)
            made = self.client.create_model_version(
                name,
                model_uri,
                run_id,
                tags=tag_texts(tags),
                description=limits.cut(description, limits.DESCRIPTION_LENGTH),
                model_id=model_uri.removeprefix("models:/"),
            )
            try:  # two processes may both have passed the check above
                self.require_new(name, model_uri, before=int(made.version))
            except UserError:
                self.client.delete_model_version(name, made.version)
                raise
            link(self.client, model_uri, made)
        return from_mlflow(made, ())

    def download(self, version: Version, into: Path | None = None) -> Path:
        """The version's bundle on this disk, checked against its pin before it is returned.

        Args:
            version: to fetch.
            into: new folder for it; else the user's cache, where it is fetched once.

        Raises:
            UserError: the version has no pin, or its files are not those that were registered.
        """
        pin = version.tags.get(PIN)
        if pin is None:
            fix = "register it with `recsys-mtl register`"
            raise wrong(f"the version has no tag {PIN}", where=str(version), fix=fix)

        def fetch(folder: Path) -> None:
            with self.requesting(f"cannot download {version}"):
                download_bundle(version.source, self.uri, folder)
            require_pinned(folder, pin, where=str(version))

        if into is None:
            return kept(pin, fetch)
        fetch(into)
        return into

    def log_text(self, version: Version, file: str, text: str) -> None:
        """Store a text in the version's run, under registry/NAME/VERSION."""
        if version.run_id is None:
            raise wrong("the version has no run to keep files in", where=str(version))
        path = f"registry/{version.name}/{version.number}/{file}"
        with self.requesting(f"cannot store {path}"):
            self.client.log_text(version.run_id, text, path)

    def _model(self, name: str) -> Any:
        with self.requesting("cannot read the model registry"):
            model = find_name(self.client, name)
        if model is None:
            fix = did_you_mean(name, self.names()) or "register one with `recsys-mtl register`"
            raise wrong(f"no registered model '{name}'", where=self.shown, fix=fix)
        return model
