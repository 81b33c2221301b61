"""The model that the server answers with: loaded at the start, exchanged when another is there."""

from __future__ import annotations

import asyncio
import gc
import logging
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from recsys_mtl.errors import UserError, wrong
from recsys_mtl.runs.evaluate import model_folder
from recsys_mtl.scoring.model import ModelFolder, registered_model
from recsys_mtl.service.app import Service
from recsys_mtl.service.model import LoadedModel
from recsys_mtl.text import one_line
from recsys_mtl.tracking.bundle_cache import bundle_hash, prune

log = logging.getLogger(__name__)
_REGISTERED = "models:/"


class Reloader:
    """Loads the model that a text names into a service, now and whenever it has moved.

    Args:
        service: gets the models.
        model: a run's folder, its model folder, `models:/NAME@champion` or `models:/NAME/3`.
        tracking_uri: of the registry; default: the configured one.
        every: seconds between two looks; 0 looks only when `requested`.

    Raises:
        UserError: `tracking_uri` for a folder.
    """

    def __init__(
        self, service: Service, model: str, tracking_uri: str | None, every: float
    ) -> None:
        if tracking_uri is not None and not model.startswith(_REGISTERED):
            raise wrong("--tracking-uri is for models:/NAME@champion", fix="leave it out")
        self._service = service
        self._model = model
        self._tracking_uri = tracking_uri
        self._every = every or None
        self._known: ModelFolder | None = None
        self._requested = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "reload")

    def request(self) -> None:
        """Look at once."""
        self._requested.set()

    async def run(self) -> None:
        """Load the model, and exchange it whenever it has moved; a failure keeps the old one.

        Raises:
            UserError: there is none at the start, or it is damaged.
        """
        await self._load_into_service()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._requested.wait(), self._every)
            self._requested.clear()
            try:
                if await self._load_into_service():
                    self._service.metrics.reload(failed=False)
            except Exception as error:  # the old model still answers
                self._service.metrics.reload(failed=True)
                if not isinstance(error, UserError):
                    log.debug("a model was not loaded", exc_info=True)
                reason = one_line(" ".join(str(error).split()))
                log.error("another model was not loaded, the old one answers: %s", reason)

    def close(self) -> None:
        """End the thread, without waiting for what it does."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _load_into_service(self) -> bool:
        """Whether another model answers now."""
        loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load)
        if loaded is not None:
            self._service.use(loaded)
            log.info("answering with %s (version %s)", loaded.name, loaded.version)
        return loaded is not None

    def _load(self) -> LoadedModel | None:
        """The model, ready to answer; None where it is still the known one."""
        found = self._find()
        if found == self._known:
            return None
        if self._known is None:
            gc.collect()
            gc.freeze()  # what was imported is not searched for garbage while requests wait
        loaded = LoadedModel.load(found)
        self._known = found
        if self._model.startswith(_REGISTERED):
            prune()
        return loaded

    def _find(self) -> ModelFolder:
        if self._model.startswith(_REGISTERED):
            return registered_model(
                self._model, self._tracking_uri, where="MODEL", known=self._known
            )
        folder = model_folder(self._model)
        return ModelFolder(folder, bundle_hash(folder))
