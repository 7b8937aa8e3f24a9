"""`affidavit up`."""

from __future__ import annotations

import os
import sys
from typing import Annotated

from cyclopts import Parameter
from rich.panel import Panel
from rich.text import Text

from affidavit.cli.exit_codes import FINDING, OK
from affidavit.cli.present import answers, print_json, remark, remarks
from affidavit.ledger.places import Lease
from affidavit.serve.running import News, run_service


def up(
    *,
    json: Annotated[
        bool, Parameter(name="--json", negative="", help="One JSON object a line, our own messages too.")
    ] = False,
) -> int:
    """Run the gateway and everything behind it, until Ctrl-C or SIGTERM.

    The first start creates both directories, keys included. Back the keys up: `affidavit keys backup`.

    Every call that a client makes through the gateway is on disk before it is sent on, and sealed about a second later:

    ```
    affidavit up
    OPENAI_BASE_URL=http://127.0.0.1:8321/openai/v1 python your_program.py
    ANTHROPIC_BASE_URL=http://127.0.0.1:8321/anthropic python your_program.py
    ```

    A line that begins with `ready` says that calls are taken. To stop: Ctrl-C; calls in flight may end, everything is
    sealed, the epoch is closed. A second Ctrl-C does not wait for calls in flight.
    """

    def leased(lease: Lease) -> None:
        for warning in lease.warnings:
            remark(f"warning: {warning}")
        if lease.created and not json:
            remarks().print(_first_start(lease))
        elif lease.created:
            remark(
                f"new keys in {lease.places.keys}: without them nothing recorded here can be read again; run "
                "`affidavit keys backup`"
            )

    def ready(news: News) -> None:
        if json:
            print_json(_news_json(news))
            sys.stdout.flush()  # whoever started us waits for this line
        else:
            answers().print(_news_text(news), soft_wrap=True)

    clean = run_service(
        environment=os.environ, purpose="service", log_form="json" if json else "text", leased=leased, ready=ready
    )
    if clean:
        remark("stopped: everything is sealed and the epoch is closed")
        return OK
    remark("stopped, but not everything could be sealed; nothing is lost, the next start goes on from there")
    return FINDING


def _first_start(lease: Lease) -> Panel:
    text = Text.assemble(
        "New keys were made in ",
        (str(lease.places.keys), "bold"),
        ".\nWithout them nothing that is recorded here can ever be read again, and the logs cannot be continued.\n"
        "Nobody else has a copy. Make one now, to another disk:\n\n    ",
        ("affidavit keys backup", "bold"),
    )
    return Panel(text, title="Back up your keys", border_style="yellow", expand=False)


def _news_json(news: News) -> dict[str, object]:
    return {
        "event": "ready",
        "pid": news.pid,
        "gateway": news.gateway,
        "api": news.api,
        "base_urls": _base_urls(news),
        "projects": list(news.projects),
        "workers": news.workers,
        "data": str(news.places.data),
        "keys": str(news.places.keys),
    }


def _news_text(news: News) -> Text:
    lines = [f"ready  http://{news.gateway}  ({news.workers} workers, process {news.pid})"]
    lines += [f"  {name:<10} {url}" for name, url in _base_urls(news).items()]
    lines.append(f"  {'readers':<10} http://{news.api}/v1/events, /metrics, /readyz")
    lines += [f"  {'data':<10} {news.places.data}", f"  {'keys':<10} {news.places.keys}"]
    if "openai" in news.upstreams:
        lines.append(
            f"Try: OPENAI_BASE_URL={_base_urls(news)['openai']}, one call, then `affidavit list`. Ctrl-C stops."
        )
    return Text("\n".join(lines))


def _base_urls(news: News) -> dict[str, str]:
    """What to give each provider's client as its base URL; the official ones differ in whether they add the version."""
    return {name: f"http://{news.gateway}/{name}" + ("/v1" if name == "openai" else "") for name in news.upstreams}
