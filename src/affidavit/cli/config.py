"""`affidavit config check` and `affidavit config explain`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter
from rich.text import Text

from affidavit.cli.exit_codes import EXIT_CODES, OK, USAGE
from affidavit.cli.present import answers, print_json, remark
from affidavit.config import CONFIG_NAME, Config, Setting, load_config, settings, tables
from affidavit.ledger.places import CONFIG_VARIABLE, DATA_VARIABLE, KEYS_VARIABLE, find_config, find_places
from affidavit.witness.peers import configured_peers

app = App(name="config", help="Check or explain the configuration.")

ENVIRONMENT: Final[dict[str, str]] = {
    DATA_VARIABLE: "The data directory. Without it: `$XDG_DATA_HOME/affidavit`, which is `~/.local/share/affidavit`.",
    KEYS_VARIABLE: (
        "The key directory. Without it: the one under `$XDG_STATE_HOME/affidavit` (`~/.local/state/affidavit`) that "
        "serves this data "
        "directory, else `default` there. Neither directory may lie in the other."
    ),
    CONFIG_VARIABLE: f"The configuration file. Without it: `{CONFIG_NAME}` in the data directory, else the defaults.",
    "AFFIDAVIT_DEBUG": "`1` shows tracebacks of our own defects, and puts them into the log. They may quote content.",
}


@app.command
def check(
    file: Annotated[Path | None, Parameter(help="The file; without it, the one that `up` would use.")] = None,
    /,
    *,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="The whole configuration in force as one JSON object.")
    ] = False,
) -> int:
    """Read the configuration as `up` would, and say what is wrong with it. Nothing is started or changed.

    ```
    affidavit config check
    affidavit config check ./affidavit.toml && systemctl restart affidavit
    ```

    Exit code 2 says that it cannot be used.
    """
    path = file or find_config(os.environ, find_places(os.environ))
    loaded = load_config(path)
    configured_peers(loaded.config.witnesses)
    if json:
        print_json(
            {
                "path": None if path is None else str(path),
                "sha256": loaded.digest,
                "config": msgspec.to_builtins(loaded.config),
            }
        )
    else:
        answers().print(
            f"{path}: correct" if path else "there is no file, and the defaults hold", markup=False, soft_wrap=True
        )
    return OK


@app.command
def explain(
    setting: Annotated[str | None, Parameter(help="Only settings whose name contains this.")] = None,
    /,
    *,
    markdown: Annotated[bool, Parameter(negative="", help="The page docs/configuration.md.")] = False,
    json: Annotated[bool, Parameter(name="--json", negative="", help="One JSON object a line.")] = False,
) -> int:
    """Explain every setting: what it does, its default, and the value in force where it is another.

    affidavit config explain
    affidavit config explain workers
    """
    if markdown:
        answers().print(Text(configuration_page()), end="", soft_wrap=True)
        return OK
    chosen = [one for one in settings() if setting is None or setting in one.name]
    if not chosen:
        remark(f"affidavit: no setting is called {setting!r}; without a name all are listed")
        return USAGE
    config = load_config(find_config(os.environ, find_places(os.environ))).config
    for one in chosen:
        in_force = list(_values(config, one.name))
        if json:
            print_json(
                {
                    "name": one.name,
                    "kind": one.kind,
                    "default": one.default,
                    "text": one.text,
                    "in_force": dict(in_force),
                }
            )
        else:
            answers().print(_explained(one, in_force), soft_wrap=True)
    return OK


def configuration_page() -> str:
    """The page docs/configuration.md, made from the settings themselves."""
    lines = [
        "# Configuration",
        "",
        "Made by `affidavit config explain --markdown`; a test compares it. Everything has a default: without a file,",
        "`affidavit up` runs a gateway on 127.0.0.1:8321 for the public providers. The file is TOML:",
        f"`{CONFIG_NAME}` in the data directory, or what `{CONFIG_VARIABLE}` names. A key that is not listed here is",
        "refused, and the nearest one that is gets named.",
        "",
        "## Environment",
        "| variable | what it names |",
        "|---|---|",
        *(f"| `{name}` | {text} |" for name, text in ENVIRONMENT.items()),
        "",
    ]
    about = tables()
    for table, text in about.items():
        lines += [
            f"## [{table}]",
            " ".join(text.split()),
            "",
            "| setting | type | default | what it does |",
            "|---|---|---|---|",
        ]
        lines += [_line(one, table) for one in settings() if one.name.rpartition(".")[0] == table]
        lines.append("")
    lines += ["## Exit codes of every command", "| code | when |", "|---|---|"]
    lines += [f"| {code} | {text} |" for code, text in EXIT_CODES.items()]
    return "\n".join(lines) + "\n"


def _line(one: Setting, table: str) -> str:
    default = f"`{one.default}`" if one.default else "must be given"
    return f"| `{one.name.removeprefix(table + '.')}` | {one.kind} | {default} | {one.text} |"


def _explained(one: Setting, in_force: list[tuple[str, Any]]) -> Text:
    text = Text.assemble(
        (one.name, "bold"), f"  {one.kind}, default {one.default or 'none: it must be given'}\n  {one.text}"
    )
    for name, value in in_force:
        shown = msgspec.json.encode(value).decode()
        if shown != one.default and not (value is None and one.default == "none"):
            text.append(f"\n  in force: {name} = {shown}", style="green")
    return text


def _values(config: Config, name: str) -> Iterator[tuple[str, Any]]:
    """`(name, value)` in force; several where a table is named by the operator."""
    found: list[tuple[str, Any]] = [("", config)]
    for step in name.split("."):
        if step == "<name>":
            found = [(f"{path}.{key}", value) for path, table in found for key, value in table.items()]
        else:
            found = [(f"{path}.{step}".lstrip("."), getattr(value, step)) for path, value in found]
    yield from found
