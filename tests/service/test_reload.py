from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_mtl.errors import UserError
from recsys_mtl.service.app import Service
from recsys_mtl.service.batcher import Limits
from recsys_mtl.service.reload import Reloader
from recsys_mtl.serving import save_bundle
from tests.serving.conftest import Trained


def replace(folder: Path, trained: Trained) -> None:
    """Another model in the folder."""
    state = {name: value * 1.5 for name, value in trained.network.state_dict().items()}
    save_bundle(folder, trained.config, trained.preprocessor, state)


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.mark.slow  # loads models
def test_another_model_replaces_the_old_one_and_a_failure_does_not(
    bundle: Path, trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(bundle, folder)
    caplog.set_level(logging.INFO, "recsys_mtl")

    async def scenario() -> None:
        service = Service(Limits())
        reloader = Reloader(service, str(folder), None, every=0)
        work = asyncio.create_task(reloader.run())
        await until(lambda: service.model)
        first = service.model
        metrics = service.metrics.text
        manifest = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text("{")
        reloader.request()
        await until(lambda: b'reloads_total{result="failed"} 1.0' in metrics())
        assert service.model is first
        (folder / "manifest.json").write_text(manifest)
        reloader.request()  # the same model is not loaded again
        replace(folder, trained)
        reloader.request()
        await until(lambda: service.model is not first)
        assert service.model is not None
        assert service.model.version != first.version
        await until(lambda: b'reloads_total{result="loaded"} 1.0' in metrics())
        assert f'version="{service.model.version}"}} 1.0' in metrics().decode()
        assert f'version="{first.version}"' not in metrics().decode()
        work.cancel()
        reloader.close()
        service.batcher.close()

    asyncio.run(scenario())
    problems = [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(problems) == 1
    assert problems[0].startswith("another model was not loaded, the old one answers: ")


def test_without_a_model_at_the_start_there_is_no_service(tmp_path: Path) -> None:
    async def scenario() -> None:
        service = Service(Limits())
        reloader = Reloader(service, str(tmp_path), None, every=0)
        with pytest.raises(UserError, match="no model there"):
            await reloader.run()
        reloader.close()
        service.batcher.close()

    asyncio.run(scenario())
