"""docs/configuration.md is what the settings say of themselves."""

from pathlib import Path

from affidavit.api.row import FIELDS
from affidavit.cli.config import configuration_page
from affidavit.config import settings


def test_the_page_is_made_from_the_settings(repository_root: Path):
    page = repository_root / "docs" / "configuration.md"
    assert page.read_text() == configuration_page(), "run: affidavit config explain --markdown > docs/configuration.md"


def test_the_page_names_every_setting():
    page = configuration_page()
    for setting in settings():
        assert f"`{setting.name.rsplit('.', 1)[-1]}`" in page


def test_the_page_on_reading_explains_every_member(repository_root: Path):
    table = [
        line for line in (repository_root / "docs" / "reading.md").read_text().splitlines() if line.startswith("| `")
    ]
    assert [f"| `{name}` | {text} |" for name, text in FIELDS.items()] == [
        line for line in table if "affidavit" not in line[:20]
    ]
