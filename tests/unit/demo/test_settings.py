from pathlib import Path

from affidavit.config import Config, Gateway, Names, Project, Upstream, parse_config
from affidavit.demo.settings import format_config, simulated, tour_environment

OWN = Config(
    gateway=Gateway(listen="0.0.0.0:80", exposed=True, workers=3),
    upstreams={"openai": Upstream(base_url="https://example.invalid"), "own": Upstream(base_url="http://127.0.0.1:9")},
    projects={"default": Project(), "research": Project(description='a "quoted" one, with ü and \\')},
    names=Names(apps=("crm",), environment="test"),
)


def test_a_written_configuration_says_the_same() -> None:
    text = format_config(OWN)
    assert parse_config(text.encode(), name="test").projects == OWN.projects
    again = parse_config(text.encode(), name="test")
    assert (again.gateway, again.names, again.log) == (OWN.gateway, OWN.names, OWN.log)
    assert {name: again.upstreams[name] for name in OWN.upstreams} == OWN.upstreams


def test_the_tour_talks_to_the_simulator_and_to_nobody_else() -> None:
    config = simulated(OWN, provider_url="http://127.0.0.1:1")
    assert {upstream.base_url for upstream in config.upstreams.values()} == {"http://127.0.0.1:1"}
    assert (config.gateway.listen, config.gateway.exposed, config.gateway.workers) == ("127.0.0.1:0", False, 3)
    assert config.projects == OWN.projects
    assert set(OWN.names.apps) < set(config.names.apps)
    assert simulated(config, provider_url="http://127.0.0.1:1") == config


def test_directories_that_are_named_are_used_and_others_are_the_tours_own(tmp_path: Path) -> None:
    named = {"AFFIDAVIT_DATA": "/a", "HOME": str(tmp_path)}
    assert tour_environment(named) == named
    own = tour_environment({"HOME": str(tmp_path), "XDG_STATE_HOME": "not/absolute"})
    assert own["AFFIDAVIT_DATA"] == str(tmp_path / ".local/share/affidavit-demo")
    assert own["AFFIDAVIT_KEYS"] == str(tmp_path / ".local/state/affidavit/demo")
    assert tour_environment({"HOME": str(tmp_path), "AFFIDAVIT_KEYS": "/k"})["AFFIDAVIT_KEYS"] == "/k"
