"""What all tests share: where things are, and that no test can touch a real ledger."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# No deadline: a loaded machine is not a defect, and timing is what `affidavit bench` is for.
settings.register_profile("affidavit", deadline=None, print_blob=True)
settings.load_profile("affidavit")


@pytest.fixture(scope="session")
def repository_root() -> Path:
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data(repository_root: Path) -> Path:
    """Real inputs that lie beside a checkout and are not part of it."""
    path = repository_root.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip("../shared/data is absent: the real inputs are not part of the repository")
    return path


@pytest.fixture(scope="session", autouse=True)
def _no_ledger_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Drop every setting of the person who runs the tests, and move the default directories away."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AFFIDAVIT_")]:
            patch.delenv(name)
        for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield
