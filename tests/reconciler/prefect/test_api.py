"""How Prefect's API is reached."""

import pytest

from reconciler.contract.errors import BadInput
from reconciler.prefect.api import PrefectServer, configured_server, open_api
from reconciler.prefect.schedule import read
from tests.standins.prefect_api import scheduling

SOCKS = "socks4://127.0.0.1:9"


def test_a_server_on_this_machine_is_reached_without_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scheduling() as prefect:
        monkeypatch.setenv("PREFECT_API_URL", prefect.url)
        for proxy in (SOCKS, "http://127.0.0.1:9"):
            monkeypatch.setenv("ALL_PROXY", proxy)
            with open_api(configured_server()) as api:
                assert read(api).deployed


def test_a_proxy_that_cannot_be_used_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", SOCKS)
    elsewhere = PrefectServer("http://prefect.example/api", None)
    says = r"proxy in ALL_PROXY.*reach Prefect at http://prefect\.example/api"
    with pytest.raises(BadInput, match=says), open_api(elsewhere):
        pass
