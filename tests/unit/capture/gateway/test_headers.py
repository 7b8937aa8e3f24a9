import pytest

from affidavit.capture.gateway import headers
from affidavit.capture.gateway.headers import AnswerHead, RequestHead, identity_of
from affidavit.capture.gateway.refusal import Reason, Refused
from affidavit.capture.gateway.target import Target

TARGET = Target("default", "openai", b"/v1/x", "/v1/x", "/v1/x", ())


def read(*lines, version="1.1"):
    pairs = [(b"Host", b"g"), *lines]
    return RequestHead(method="POST", version=version, target=TARGET, headers=pairs)


def test_names_are_remembered_within_bounds():
    headers._names.clear()
    for number in range(headers.NAMES_MAX + 1):
        read((b"X-%d" % number, b"v"))
    assert len(headers._names) <= headers.NAMES_MAX
    read((b"Y" * 300, b"v" * 300), (b"Z", b"v" * 300))
    assert b"Y" * 300 not in headers._names
    assert headers._names[b"Z"].value == b""


def test_a_remembered_value_gives_way_to_the_next():
    for value in (b"one", b"one", b"two", b"", b"one"):
        head = read((b"X-Changing", value))
        assert head.lines == [b"X-Changing: " + value + b"\r\n"]
        assert head.recorded[1] == ("X-Changing", value.decode())


def test_no_credential_is_remembered():
    read(
        (b"Authorization", b"Bearer sk-remember"), (b"x-api-key", b"sk-remember"), (b"x-affidavit-user", b"sk-remember")
    )
    for name in headers._names.values():
        assert b"sk-remember" not in name.value + name.line
        assert "sk-remember" not in name.recorded[1]


@pytest.mark.parametrize("name", [name for name, kind in headers._KINDS.items() if kind in headers._REQUEST_UNRECORDED])
def test_what_is_secret_or_ours_is_not_recorded(name):
    head = read((name.upper().encode(), b"1"))
    assert head.recorded == [("Host", "g")]


@pytest.mark.parametrize(
    ("value", "scheme", "secret"),
    [
        (b"Bearer sk", "Bearer", b"sk"),
        (b"bearer   sk ", "Bearer", b"sk"),
        (b"sk", "", b"sk"),
        (b"Bearer", "", b"Bearer"),
        (b"half other", "", b"half other"),
        (b"AWS4-HMAC-SHA256 Credential=a, Signature=b", "AWS4-HMAC-SHA256", b"Credential=a, Signature=b"),
    ],
)
def test_schemes(value, scheme, secret):
    assert read((b"authorization", value)).credentials == [("authorization", scheme, secret)]


@pytest.mark.parametrize(
    ("version", "connection", "keep"),
    [
        ("1.1", None, True),
        ("1.1", b"close", False),
        ("1.1", b"keep-alive, Close", False),
        ("1.0", None, False),
        ("1.0", b"Keep-Alive", True),
        ("1.0", b"keep-alive, close", False),
    ],
)
def test_keep(version, connection, keep):
    lines = [] if connection is None else [(b"Connection", connection)]
    assert read(*lines, version=version).keep is keep


def test_connection_names_headers_that_stay_but_never_the_framing():
    head = read(
        (b"A", b"1"),
        (b"Content-Length", b"0"),
        (b"Connection", b"a, content-length"),
        (b"connection", b"B"),
        (b"b", b"2"),
    )
    assert head.lines == [b"Content-Length: 0\r\n"]
    assert head.content_length == 0


@pytest.mark.parametrize("host", [b"g", b"g:80", b"[::1]:1", b"127.0.0.1", b"g:", b"g "])
def test_hosts(host):
    RequestHead(method="GET", version="1.1", target=TARGET, headers=[(b"host", host)])


@pytest.mark.parametrize("host", [b"", b"a b", b"a:b", b"u@a", b"a/b", b"[::1", b"a\xff", b"a:1:2"])
def test_hosts_that_are_refused(host):
    with pytest.raises(Refused) as refused:
        RequestHead(method="GET", version="1.1", target=TARGET, headers=[(b"host", host)])
    assert refused.value.reason is Reason.BAD_HOST


def test_codings_are_joined():
    head = read((b"Content-Encoding", b"br"), (b"content-encoding", b"gzip"))
    assert head.content_encoding == "br, gzip"
    answer = AnswerHead(
        status=200, reason=b"OK", version="1.1", headers=[(b"Content-Encoding", b"br"), (b"content-encoding", b"gzip")]
    )
    assert answer.content_encoding == "br, gzip"


def test_identity():
    assert identity_of(read(), key=None).user is None
    identity = identity_of(read((b"x-affidavit-user", b" u "), (b"x-affidavit-app", b"a")), key="f")
    assert (identity.user, identity.app, identity.team, identity.key) == ("u", "a", None, "f")


def test_an_answer_head():
    head = AnswerHead(
        status=200,
        reason=b"Fine",
        version="1.1",
        headers=[
            (b"Content-Type", b"text/plain"),
            (b"Connection", b"x-hop"),
            (b"X-Hop", b"1"),
            (b"Transfer-Encoding", b"chunked"),
            (b"Set-Cookie", b"secret"),
            (b"X-Affidavit-Id", b"other"),
            (b"X-Long", b"v" * 300),
        ],
    )
    assert head.lines == [
        b"Content-Type: text/plain\r\n",
        b"Set-Cookie: secret\r\n",
        b"X-Long: " + b"v" * 300 + b"\r\n",
    ]
    assert (head.chunked, head.other_coding, head.content_length) == (True, False, None)
    assert ("Set-Cookie", "…") in head.recorded.headers
    assert ("X-Affidavit-Id", "other") in head.recorded.headers
    assert AnswerHead(status=200, reason=b"", version="1.1", headers=[(b"transfer-encoding", b"gzip")]).other_coding
