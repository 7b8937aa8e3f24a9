"""The house rules that no checker counts, and the layers, which must be able to go red."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LINES_A_FUNCTION = 70
LINES_A_FILE = 600
FORBIDDEN_ROOMS = {"utils", "helpers", "common", "manager", "base", "core", "service"}
ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
OURS = [*SOURCES, *sorted((ROOT / "bench").glob("*.py"))]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", OURS, ids=name_of)
def test_a_file_stays_readable(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "the door states the rules: a module begins with its docstring"
    assert len(text.splitlines()) <= LINES_A_FILE
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {node.name: node.end_lineno - node.lineno + 1 for node in functions if node.end_lineno is not None}
    assert {name: lines for name, lines in long.items() if lines > LINES_A_FUNCTION} == {}


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_module_names_what_it_takes(path: Path) -> None:
    assert path.stem not in FORBIDDEN_ROOMS
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert "affidavit" not in {alias.name.split(".")[0] for alias in node.names}


@pytest.mark.parametrize("path", [*SOURCES, ROOT / "verifier" / "affidavit_verify.py"], ids=name_of)
def test_no_pattern_repeats_a_group_possessively(path: Path) -> None:
    """Python before 3.11.5, Debian 12's among them, matches such groups wrongly (CPython issue 106052)."""
    texts = [
        node.value if isinstance(node.value, str) else node.value.decode("latin-1")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)
    ]
    # Without their classes of characters, in which brackets and stars are themselves.
    patterns = [re.sub(r"\[\^?\]?[^\]]*\]", ".", text) for text in texts if "(?:" in text or "[^" in text]
    assert [text for text in patterns if re.search(r"\)(?:[*+?]|\{[^}]*\})\+|\(\?>", text)] == []


def test_the_single_file_verifier_uses_the_standard_library_only() -> None:
    path = ROOT / "verifier" / "affidavit_verify.py"
    if not path.is_file():
        pytest.skip("verifier/affidavit_verify.py is not built yet")
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            roots = {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            roots = {(node.module or "").split(".")[0]}
        else:
            continue
        assert roots <= sys.stdlib_module_names | {"__future__"}


def test_the_package_imports_nothing_when_it_is_imported() -> None:
    program = "import sys; before = set(sys.modules); import affidavit; print(sorted(set(sys.modules) - before))"
    # -S: without the site's path files, which may import affidavit or coverage before the program begins.
    result = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "['affidavit']"


def test_the_package_carries_its_types() -> None:
    assert (ROOT / "src/affidavit/py.typed").is_file()


def lint_imports(root: Path) -> subprocess.CompletedProcess[str]:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env={"PYTHONPATH": str(root / "src"), "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layers_hold() -> None:
    result = lint_imports(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


PLANTS = {
    "clock in tlog": ("tlog/planted.py", "import time", "Sans-I/O"),
    "socket in wire": ("wire/planted.py", "from socket import socket", "Sans-I/O"),
    "files in tlog": ("tlog/planted.py", "import os.path", "Sans-I/O"),
    "randomness in the text forms": ("text.py", "import secrets", "Sans-I/O"),
    "clock in tlog by way of another module": ("errors.py", "import time", "Sans-I/O"),
    "upwards": ("tlog/planted.py", "from affidavit.ledger import directory", "Layers"),
    "siblings": ("crypt/planted.py", "from affidavit.tlog import merkle", "Layers"),
    "late, inside a function": ("ledger/planted.py", "def f():\n    from affidavit.seal import x", "Layers"),
    "a circle": ("errors.py", "from affidavit.text import b64u", "Acyclic"),
    "a room in no layer": ("attic/__init__.py", '"""Nobody decided where this stands."""', "Layers"),
    "the server in the ledger": ("ledger/planted.py", "import uvloop", "Light"),
    "OpenSSL's opinion where the ledger is read": ("ledger/reader.py", "import rfc3161_client", "Light"),
    "providers in the ledger": ("ledger/planted.py", "from affidavit.wire import sse", "The ledger knows bytes"),
}


@pytest.mark.parametrize("plant", PLANTS)
def test_the_layers_can_go_red(plant: str, tmp_path: Path) -> None:
    """Each rule is broken on purpose in a copy, since a contract that never fails may be looking at nothing."""
    file, line, contract = PLANTS[plant]
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    planted = tmp_path / "src" / "affidavit" / file
    planted.parent.mkdir(exist_ok=True)
    with planted.open("a") as stream:
        stream.write(f"\n{line}\n")
    result = lint_imports(tmp_path)
    assert result.returncode == 1, result.stderr
    broken = [row for row in result.stdout.splitlines() if re.search(r" BROKEN(?: \(.*\))?$", row)]
    assert any(row.startswith(contract) for row in broken), result.stdout
