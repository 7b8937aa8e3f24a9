"""A strict reader of Prometheus' text format 0.0.4, written from its rules and not from our writer."""

import re
from dataclasses import dataclass, field

_NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
_LABEL = r"[a-zA-Z_][a-zA-Z0-9_]*"
_SAMPLE = re.compile(rf"({_NAME})(?:\{{(.*)\}})? (\S+)")
_PAIR = re.compile(rf'({_LABEL})="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)')
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?([eE][+-]?\d+)?|Inf|NaN)")
_UNITS = ("seconds", "bytes", "total", "info")


@dataclass
class Metric:
    kind: str = ""
    text: str = ""
    samples: dict[tuple[str, tuple[tuple[str, str], ...]], float] = field(default_factory=dict)


def parse(page: str) -> dict[str, Metric]:
    """Every family; an `AssertionError` names the rule that is broken."""
    assert page.endswith("\n"), "the last line ends, too"
    metrics: dict[str, Metric] = {}
    current = ""
    for line in page.split("\n")[:-1]:
        if line.startswith("# HELP "):
            name, text = re.fullmatch(rf"# HELP ({_NAME}) (.+)", line).groups()
            assert name not in metrics, f"{name} has two HELP lines, or is in two places"
            metrics[name] = Metric(text=text)
            current = name
        elif line.startswith("# TYPE "):
            name, kind = re.fullmatch(rf"# TYPE ({_NAME}) (counter|gauge|histogram|summary|untyped)", line).groups()
            assert name == current, "TYPE stands with its family"
            assert not metrics[name].kind, "one TYPE line"
            assert not metrics[name].samples, "before the first sample"
            metrics[name].kind = kind
        else:
            _sample(line, metrics[current], current)
    for name, metric in metrics.items():
        _check(name, metric)
    return metrics


def _sample(line: str, metric: Metric, family: str) -> None:
    found = _SAMPLE.fullmatch(line)
    assert found, f"no sample: {line!r}"
    name, inside, value = found.groups()
    suffixes = ("_bucket", "_sum", "_count") if metric.kind == "histogram" else ("",)
    assert name in {family + suffix for suffix in suffixes}, f"{name} stands in the group of {family}"
    assert _NUMBER.fullmatch(value), value
    pairs, at = [], 0
    while inside and at < len(inside):
        pair = _PAIR.match(inside, at)
        assert pair, f"no labels: {inside!r}"
        pairs.append((pair[1], pair[2]))
        at = pair.end()
    assert len(dict(pairs)) == len(pairs), "a label stands once"
    assert (name, tuple(pairs)) not in metric.samples, f"{line!r} stands twice"
    metric.samples[name, tuple(pairs)] = float(value)


def _check(name: str, metric: Metric) -> None:
    assert metric.kind, f"{name} has no TYPE"
    assert (metric.kind == "counter") == name.endswith("_total"), f"{name}: counters, and only they, end in _total"
    assert not re.search(r"(_ms|_us|_milliseconds|_kib|_mb)(_|$)", name), f"{name}: base units"
    if metric.kind in {"counter", "histogram"}:
        assert all(value >= 0 for value in metric.samples.values())
    if metric.kind == "histogram":
        _check_histogram(name, metric)


def _check_histogram(name: str, metric: Metric) -> None:
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for (sample, labels), value in metric.samples.items():
        if sample == f"{name}_bucket":
            bound = dict(labels)["le"]
            rest = tuple(pair for pair in labels if pair[0] != "le")
            series.setdefault(rest, []).append((float(bound), value))
    assert series, f"{name} has no buckets"
    for rest, buckets in series.items():
        bounds = [bound for bound, _ in buckets]
        counts = [count for _, count in buckets]
        assert bounds == sorted(set(bounds)), "bounds rise"
        assert bounds[-1] == float("inf"), "the last bucket is +Inf"
        assert counts == sorted(counts), "buckets are cumulative"
        assert metric.samples[f"{name}_count", rest] == counts[-1]
        assert (f"{name}_sum", rest) in metric.samples
