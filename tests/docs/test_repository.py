"""What the repository says about itself is so, and what must not lie in it does not."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from affidavit import __version__

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {
    name: (ROOT / "requirements" / f"{name}.txt").read_text()
    for name in ("client", "server", "demo", "dev", "lock", "mutation")
}
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+)", re.MULTILINE)

# Spelled in pieces, so that this file does not contain what it looks for.
REGISTRIES = [
    "py" + "pi.org",
    "python" + "hosted.org",
    "npm" + "js.org",
    "proxy." + "golang.org",
    "sum." + "golang.org",
    "crates" + ".io",
    "docker" + ".io",
    "ghcr" + ".io",
    "quay" + ".io",
    "--index" + "-url",
    "--find" + "-links",
]
MACHINE_PATHS = re.compile(r"(?<![\w.$}*/-])/(?:work|root|home|Users|mnt|opt/wheels|tmp/scratch)/[\w.]")
MARKDOWN_LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
MAKE_COMMAND = re.compile(r"\bmake ([a-z][a-z-]*)")


def files_of_the_repository() -> list[Path]:
    """Everything that is tracked or could be; a copy without git is searched by hand."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if (ROOT / ".git").exists():
        names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
        return sorted(ROOT / name for name in names if name and (ROOT / name).is_file())
    skipped = {".venv", "build", "dist", "__pycache__", ".hypothesis"}
    found = (path for path in ROOT.rglob("*") if path.is_file())
    return sorted(path for path in found if not any(part in skipped or part.endswith("_cache") for part in path.parts))


FILES = files_of_the_repository()
PAGES = [path for path in FILES if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_names_a_registry_or_a_path_of_a_machine() -> None:
    found: list[str] = []
    for path in FILES:
        text = path.read_bytes().decode("utf-8", errors="replace")
        found += [f"{name_of(path)}: {host}" for host in REGISTRIES if host in text]
        found += [f"{name_of(path)}: {match.group()}" for match in MACHINE_PATHS.finditer(text)]
    assert found == []


def test_the_search_for_machine_paths_can_go_red() -> None:
    for text in ("see /" + "home/me/x", '"/' + 'root/.cache"', "=/" + "work/main"):
        assert MACHINE_PATHS.search(text), text
    for text in ("tests/" + "work/x", "${HOME}/" + "root/x"):
        assert not MACHINE_PATHS.search(text), text


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_links_between_pages_lead_somewhere(path: Path) -> None:
    missing = [link for link in MARKDOWN_LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_make_command_on_a_page_exists(path: Path) -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    # Only in code: prose may make sense, or make do.
    code = " ".join(re.findall(r"```.*?```|`[^`\n]+`", path.read_text(), re.DOTALL))
    assert set(MAKE_COMMAND.findall(code)) <= targets


def test_make_help_lists_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: ([a-z-]+)$", makefile, re.MULTILINE))
    shown = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"^ +make ([a-z-]+) +\S", shown, re.MULTILINE)) == targets


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_and_hashes_every_package(name: str) -> None:
    blocks = [block for block in re.split(r"\n(?=[a-z0-9])", LOCKS[name]) if not block.startswith("#")]
    assert blocks
    for block in blocks:
        assert PINNED.match(block), block
        assert "--hash=sha256:" in block, block
    assert "://" not in LOCKS[name]


def test_the_locks_agree_and_cover_what_the_project_asks_for() -> None:
    pins = {name: dict(PINNED.findall(text)) for name, text in LOCKS.items()}
    for name in ("client", "server", "demo"):
        assert pins[name].items() <= pins["dev"].items()
    # Both environments are on the path of the tests, so what both have must be the same.
    assert all(pins["dev"].get(package, version) == version for package, version in pins["mutation"].items())
    project = PROJECT["project"]
    extras = project["optional-dependencies"]
    asked = {
        "client": project["dependencies"],
        "server": project["dependencies"] + extras["server"],
        "demo": project["dependencies"] + extras["server"] + extras["demo"],
        "dev": PROJECT["dependency-groups"]["dev"] + PROJECT["build-system"]["requires"],
    }
    for name, requirements in asked.items():
        names = {re.split(r"[<>=\[ ;]", requirement)[0] for requirement in requirements} - {"affidavit"}
        assert names <= pins[name].keys(), name


def test_the_light_client_is_light() -> None:
    client = dict(PINNED.findall(LOCKS["client"])).keys()
    assert client.isdisjoint({"httptools", "uvloop", "zstandard", "genai-prices", "pydantic", "openai", "anthropic"})


def test_the_version_has_one_home_and_a_changelog_entry() -> None:
    assert "version" in PROJECT["project"]["dynamic"]
    assert re.search(rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_decisions_are_numbered_listed_and_complete() -> None:
    pages = sorted((ROOT / "docs" / "adr").glob("[0-9]*.md"))
    listed = (ROOT / "docs" / "adr" / "README.md").read_text()
    assert [page.name[:4] for page in pages] == [f"{number:04d}" for number in range(1, len(pages) + 1)]
    for page in pages:
        assert f"]({page.name})" in listed
        assert re.findall(r"^## (.+)$", page.read_text(), re.MULTILINE) == [
            "Status",
            "Context",
            "Decision",
            "Consequences",
        ]


def test_a_promise_in_force_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "threat-model.md").read_text()
    rows = re.findall(r"^\| ([HCP]\d+) \|.*\|([^|]*)\|$", text, re.MULTILINE)
    numbers = [number for number, _ in rows]
    assert len(numbers) == len(set(numbers)) > 0
    for number, cell in rows:
        for test in re.findall(r"`([^`]+)`", cell):
            file, _, function = test.partition("::")
            assert (ROOT / file).is_file(), f"{number} names {file}"
            assert not function or f"def {function}(" in (ROOT / file).read_text(), f"{number} names {test}"


def test_everything_that_must_be_executable_is() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111


def test_the_unit_and_the_container_keep_data_and_keys_apart() -> None:
    unit = (ROOT / "deploy" / "affidavit.service").read_text()
    assert "AFFIDAVIT_DATA=%S/affidavit\n" in unit
    assert "AFFIDAVIT_KEYS=%S/affidavit-keys\n" in unit
    assert "StateDirectory=affidavit affidavit-keys\n" in unit
    container = (ROOT / "Containerfile").read_text()
    assert 'VOLUME ["/data", "/keys"]' in container
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", container, re.MULTILINE)
