"""Coroutine tests run on uvloop, as workers do; one simulated vendor and one stage of real processes for all tests."""

import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop
from real_stage import RealStage
from small_road import HASTY, SmallRoad

from tollbook.simulator import Simulator


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test on a loop of its own."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    uvloop.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture(scope="session")
def vendor() -> Iterator[Simulator]:
    """A simulated vendor in a thread; tests tell it what to do from inside their requests."""
    with Simulator(seed=11) as running:
        yield running


@pytest.fixture
def road(vendor: Simulator, tmp_path: Path) -> SmallRoad:
    """A road in this process before the simulated vendor; to be entered with `async with`."""
    return SmallRoad(tmp_path, vendor.url)


@pytest.fixture
def hasty_road(vendor: Simulator, tmp_path: Path) -> SmallRoad:
    """The same road, whose patience with a silent vendor ends in less than a second."""
    return SmallRoad(tmp_path, vendor.url, edits=HASTY)


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStage]:
    """Supervisor, worker, scribe and desk as processes, before a simulated vendor that is one too."""
    with RealStage(tmp_path_factory.mktemp("stage")) as running:
        yield running
