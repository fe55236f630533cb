"""A mesh for each file: its sidecars and apps are shared by the tests in it."""

from collections.abc import Iterator

import pytest
from support.domain import Domain, domain_in
from support.mesh import Mesh, mesh_in
from support.tts import Service


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """A trust domain in a folder of its own; every process in it ends with the file."""
    with mesh_in(tmp_path_factory.mktemp("mesh")) as made:
        yield made


@pytest.fixture(scope="module")
def service(mesh: Mesh) -> Iterator[Service]:
    """A Transaction Token Service of the mesh that answers what a test wants."""
    made = Service(mesh)
    yield made
    made.close()


@pytest.fixture(scope="module")
def domain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Domain]:
    """A trust domain with a real authority, whose workloads stand in the file's ``WORKLOADS``."""
    with domain_in(tmp_path_factory.mktemp("domain"), request.module.WORKLOADS) as made:
        yield made
