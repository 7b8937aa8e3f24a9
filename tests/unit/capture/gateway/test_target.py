import pytest

from affidavit.capture.gateway.refusal import Reason, Refused
from affidavit.capture.gateway.target import TARGETS_MAX, Prefixes, join

PREFIXES = Prefixes(projects=("default", "research"), providers=("openai", "anthropic"))


@pytest.mark.parametrize(
    ("url", "project", "provider", "rest"),
    [
        (b"/openai/v1/chat/completions", "default", "openai", b"/v1/chat/completions"),
        (b"/anthropic/v1/messages?beta=true", "default", "anthropic", b"/v1/messages?beta=true"),
        (b"/p/research/openai/v1/x", "research", "openai", b"/v1/x"),
        (b"/p/default/openai/v1/x", "default", "openai", b"/v1/x"),
        (b"/openai", "default", "openai", b"/"),
        (b"/openai?x=1", "default", "openai", b"/?x=1"),
        (b"/openai/", "default", "openai", b"/"),
        (b"/openai//double//slash/", "default", "openai", b"//double//slash/"),
        (b"/openai/v1/%41?q=%20#x", "default", "openai", b"/v1/%41?q=%20#x"),
        (b"/openai/v1/..hidden/a..b/...", "default", "openai", b"/v1/..hidden/a..b/..."),
        (b"HTTP://gateway:1/openai/v1/x", "default", "openai", b"/v1/x"),
        (b"/openai/v1/x?path=../..", "default", "openai", b"/v1/x?path=../.."),
    ],
)
def test_targets(url, project, provider, rest):
    for _ in range(2):  # read, then remembered
        target = PREFIXES.find(url)
        assert (target.project, target.provider, target.rest) == (project, provider, rest)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (b"/", Reason.UNKNOWN_PROVIDER),
        (b"/OpenAI/v1", Reason.UNKNOWN_PROVIDER),
        (b"/openaix/v1", Reason.UNKNOWN_PROVIDER),
        (b"//openai/v1", Reason.UNKNOWN_PROVIDER),
        (b"/p", Reason.UNKNOWN_PROVIDER),
        (b"/p/research", Reason.UNKNOWN_PROVIDER),
        (b"/p/none/openai/v1", Reason.UNKNOWN_PROJECT),
        (b"/p/research/none/v1", Reason.UNKNOWN_PROVIDER),
        (b"/openai/..", Reason.BAD_TARGET),
        (b"/openai/./x", Reason.BAD_TARGET),
        (b"/openai/%2e%2e/x", Reason.BAD_TARGET),
        (b"/openai/.%2E/x", Reason.BAD_TARGET),
        (b"/openai/x\\..\\y", Reason.BAD_TARGET),
        (b"/openai/..;/x", Reason.BAD_TARGET),
        (b"/openai/..?x", Reason.BAD_TARGET),
        (b"ftp://g/openai", Reason.BAD_TARGET),
        (b"http://u@g/openai", Reason.BAD_TARGET),
        (b"*", Reason.BAD_TARGET),
        (b"", Reason.BAD_TARGET),
    ],
)
def test_targets_that_are_refused(url, reason):
    with pytest.raises(Refused) as refused:
        PREFIXES.find(url)
    assert refused.value.reason is reason


def test_credentials_in_the_query():
    target = PREFIXES.find(b"/openai/v1/x?a=%3D&key=se%63ret&KEY=two&=&key")
    assert target.shown == "/v1/x?a=%3D&key=…&KEY=…&=&key=…"
    assert target.credentials == (("key", b"secret"), ("key", b"two"), ("key", b""))
    assert target.rest == b"/v1/x?a=%3D&key=se%63ret&KEY=two&=&key"
    assert target.path == "/v1/x"


def test_no_query_is_remembered_and_the_memory_is_bounded():
    prefixes = Prefixes(projects=("default",), providers=("openai",))
    prefixes.find(b"/openai/v1/x?key=secret")
    assert prefixes._remembered == {}
    for number in range(TARGETS_MAX + 1):
        prefixes.find(b"/openai/%d" % number)
    assert len(prefixes._remembered) == 1


@pytest.mark.parametrize(
    ("base", "rest", "joined"),
    [
        (b"", b"/v1/x", b"/v1/x"),
        (b"/v1", b"/v1/x", b"/v1/x"),
        (b"/v1", b"/v1", b"/v1"),
        (b"/v1", b"/v1?x", b"/v1?x"),
        (b"/v1", b"/v1beta/x", b"/v1/v1beta/x"),
        (b"/api/v1", b"/v1/x", b"/api/v1/x"),
        (b"/api", b"/v1/x", b"/api/v1/x"),
    ],
)
def test_join(base, rest, joined):
    assert join(base, rest) == joined
