"""The configuration: defaults, refusals that name the key, and one documentation for everything."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affidavit.capture.gateway.settings import Bounds, UpstreamSettings
from affidavit.config import (
    CONFIG_BYTES_MAX,
    Address,
    Config,
    Gateway,
    Upstream,
    load_config,
    parse_config,
    parse_listen,
    settings,
    tables,
)
from affidavit.errors import ConfigError
from affidavit.settings.signer import Signer, user_id

NAME = "affidavit.toml"


def parse(text: str) -> Config:
    return parse_config(text.encode(), name=NAME)


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_no_file_at_all_is_a_gateway_for_the_public_providers():
    loaded = load_config(None)
    assert loaded.digest is None
    assert loaded.config.gateway.listen == "127.0.0.1:8321"
    assert loaded.config.gateway.audit == "block"
    assert {name: value.base_url for name, value in loaded.config.upstreams.items()} == {
        "openai": "https://api.openai.com",
        "anthropic": "https://api.anthropic.com",
    }
    assert loaded.config.logs == ("system", "default")


def test_declaring_an_upstream_adds_it_and_redeclaring_replaces_it():
    config = parse(
        '[upstreams.openai]\nbase_url = "http://127.0.0.1:9/x"\n[upstreams.own]\nbase_url = "https://own.example"'
    )
    assert config.upstreams["openai"].base_url == "http://127.0.0.1:9/x"
    assert list(config.upstreams) == ["openai", "anthropic", "own"]


def test_projects_come_after_the_default_one_in_the_order_of_the_file():
    config = parse("[projects.zebra]\n[projects.ant]\n")
    assert config.logs == ("system", "default", "zebra", "ant")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[gateway]\nlisen = "127.0.0.1:1"', ["[gateway] has no setting 'lisen'", "did you mean 'gateway.listen'?"]),
        ('listen = "127.0.0.1:1"', ["the top of the file has no setting 'listen'", "'gateway.listen'"]),
        ('[upstreams.mine]\nbase_ur = "x"', ["[upstreams.mine] has no setting 'base_ur'", "'upstreams.mine.base_url'"]),
        ("[gatway]\n", ["has no setting 'gatway'", "'gateway'"]),
        ("[gateway]\nqqq = 1", ["[gateway] has no setting 'qqq'; it has listen, exposed"]),
        ("[projects.a]\nretention = 1", ["[projects.a] has no setting 'retention'"]),
    ],
)
def test_an_unknown_key_is_refused_with_its_name_its_table_and_what_was_meant(text, says):
    message = refusal(text)
    assert message.startswith(NAME)
    assert "Nothing was started" in message
    for part in says:
        assert part in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[gateway]\nworkers = -1", "gateway.workers: expected int >= 0"),
        ("[gateway]\nworkers = 257", "gateway.workers: expected int <= 256"),
        ('[gateway]\nworkers = "2"', "gateway.workers: expected int, got str"),
        ('[gateway]\naudit = "none"', "gateway.audit: invalid enum value 'none'"),
        ("gateway = 3", "gateway: expected object, got int"),
        ("[upstreams.x]\n", "missing required field base_url"),
        ('[upstreams.X]\nbase_url = "http://a"', "[upstreams] cannot have the name 'X'"),
        ("[projects.-a]\n", "[projects] cannot have the name '-a'"),
        ("[projects.system]\n", "a project cannot be called 'system'"),
        ('[upstreams.p]\nbase_url = "http://a"', "an upstream cannot be called 'p'"),
        ('[names]\napps = [""]', "names.apps"),
        ('[names]\napps = ["a\\u0007b"]', "names.apps"),
        ('[log]\norigin_prefix = "Not A Domain"', "log.origin_prefix"),
        ("a =", "is not TOML"),
        ('[gateway]\nlisten = "nonsense"', "gateway.listen: 'nonsense' is not HOST:PORT"),
    ],
)
def test_a_value_that_cannot_be_is_refused_at_its_place(text, says):
    message = refusal(text)
    assert says in message
    assert "othing was started" in message


def test_a_port_that_others_reach_must_be_meant():
    for host in (
        "0.0.0.0",  # noqa: S104 - refused, never bound
        "[::]",
        "gateway.example",
        "192.0.2.1",
    ):
        assert "exposed = true" in refusal(f'[gateway]\nlisten = "{host}:8321"')
        assert parse(f'[gateway]\nlisten = "{host}:8321"\nexposed = true').gateway.exposed
    for host in ("127.0.0.1", "127.9.9.9", "localhost", "[::1]"):
        assert not parse(f'[gateway]\nlisten = "{host}:8321"').gateway.exposed


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com",
        "ftp://a",
        "https://",
        "https://a:0",
        "https://a:99999",
        "https://u:pass-word@a",
        "https://a?x=1",
        "https://a#b",
        "https://a b",
        "https://ä",
    ],
)
def test_a_base_url_that_is_none_is_refused_without_repeating_it(url):
    message = refusal(f'[upstreams.x]\nbase_url = "{url}"')
    assert "upstreams.x.base_url" in message
    assert "pass-word" not in message


def test_the_largest_file_and_one_byte_more():
    padding = b"#" * CONFIG_BYTES_MAX
    assert parse_config(padding, name=NAME) == Config()
    with pytest.raises(ConfigError, match="larger than"):
        parse_config(padding + b"#", name=NAME)


def test_a_file_that_cannot_be_read_or_is_no_text_says_so(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.toml")
    path = tmp_path / "affidavit.toml"
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


def test_certificates_that_are_not_there_are_missed_at_once(tmp_path: Path):
    path = tmp_path / "affidavit.toml"
    path.write_text('[upstreams.own]\nbase_url = "https://own.example"\nca_file = "own.pem"\n')
    with pytest.raises(ConfigError, match=r"there is no file .*/own\.pem"):
        load_config(path)
    (tmp_path / "own.pem").touch()
    assert load_config(path).beside("own.pem") == tmp_path / "own.pem"
    assert load_config(None).beside("x") == Path("x")


def test_the_digest_is_that_of_the_bytes_as_read(tmp_path: Path):
    path = tmp_path / "affidavit.toml"
    path.write_bytes(b"")
    # SHA-256 of nothing, in base64url; an empty file is a file.
    assert load_config(path).digest == "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"


@given(st.text(max_size=40))
def test_an_address_is_parsed_or_refused_and_never_anything_else(text):
    try:
        address = parse_listen(text)
    except ConfigError:
        return
    assert parse_listen(str(address)) == address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8321", Address("127.0.0.1", 8321)),
        ("[::1]:0", Address("::1", 0)),
        ("localhost:65535", Address("localhost", 65535)),
    ],
)
def test_addresses(text, address):
    assert parse_listen(text) == address
    assert str(address) == text


@pytest.mark.parametrize("text", ["::1:80", "a:65536", "a:-1", "a:١", ":80", "[]:80", "a", "a:"])
def test_what_is_no_address(text):
    with pytest.raises(ConfigError):
        parse_listen(text)


def test_every_setting_is_documented_and_has_a_table():
    assert len(settings()) > 20
    for setting in settings():
        assert setting.text.endswith("."), setting.name
        assert setting.name.rpartition(".")[0] in tables()
    assert all(text for text in tables().values())


def test_defaults_are_the_gateways_own():
    """Two places name them, because the gateway stands above the configuration; they may not drift apart."""
    bounds = Bounds()
    gateway = Gateway()
    shared = set(Gateway.__struct_fields__) & set(Bounds.__struct_fields__)
    assert len(shared) >= 9
    for name in shared:
        assert getattr(gateway, name) == getattr(bounds, name), name
    assert Upstream(base_url="x").connect_timeout_s == UpstreamSettings(base_url="x").connect_timeout_s


def test_an_authority_for_timestamps_needs_roots_and_an_address(tmp_path: Path):
    both = '[timestamps]\nurl = "http://tsa.example/tsr"\ncertificates = "roots.pem"\n'
    assert parse(both).timestamps.url == "http://tsa.example/tsr"
    for line in both.splitlines()[1:]:
        assert "needs both" in refusal(f"[timestamps]\n{line}\n")
    for url in (
        "tsa.example",
        "ftp://tsa.example/",
        "http://",
        "http://user:word@tsa.example/",
        "http://a b/",
        "http://[x/",
    ):
        text = refusal(both.replace("http://tsa.example/tsr", url))
        assert "not an address" in text
        assert "word" not in text.replace("password", "")
    path = tmp_path / NAME
    path.write_text(both)
    with pytest.raises(ConfigError, match=r"timestamps\.certificates: there is no file"):
        load_config(path)
    (tmp_path / "roots.pem").write_text("")
    assert load_config(path).config.timestamps.certificates == "roots.pem"


def test_a_signer_of_another_user_is_known_by_its_door_and_its_user() -> None:
    both = '[signer]\nsocket = "/run/signer"\nuser = "root"\n'
    assert parse(both).signer == Signer(socket="/run/signer", user="root")
    for line in both.splitlines()[1:]:
        assert "needs both" in refusal(f"[signer]\n{line}\n")
    assert "not an absolute path" in refusal(both.replace("/run", "run"))
    assert (user_id("root"), user_id("4711")) == (0, 4711)
    for name in ("", "nobody-of-this-name", "²", "-1"):
        with pytest.raises(ConfigError, match="has no user"):
            user_id(name)


def test_a_project_may_choose_for_itself_what_becomes_of_calls_without_a_record() -> None:
    def counted(text: str) -> frozenset[str]:
        return parse_config(text.encode(), name=NAME).counted_projects

    assert counted("") == frozenset()
    assert counted("[projects.default]\n[projects.lab]\naudit = 'mark'") == {"lab"}
    assert counted("[gateway]\naudit = 'mark'\n[projects.default]\n[projects.strict]\naudit = 'block'") == {"default"}
