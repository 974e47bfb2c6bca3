"""What the gateway serves of the page, to whom, and in which mode."""

import json
from pathlib import Path

import pytest

from skyeim_ws.config.tree import WebConf
from skyeim_ws.handler import tokens
from tests.sdk.conftest import MakeWorld
from tests.world import SECRET

WEB = Path(__file__).resolve().parent.parent.parent / "skyeim_ws/web"
PAGE = (WEB / "index.html").read_bytes()
SDK = (WEB / "skyeim/skyeim.js").read_bytes()


@pytest.mark.gen_test
async def test_the_page_and_its_files(make_world: MakeWorld) -> None:
    async with make_world() as world:
        page = await world.fetch("/")
        assert (page.code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert page.body == PAGE
        script = await world.fetch("/web/skyeim/skyeim.js")
        assert script.headers["Content-Type"] == "text/javascript; charset=utf-8"
        assert script.body == SDK
        described = await world.fetch("/web/asyncapi.json")
        assert described.headers["Content-Type"] == "application/json"
        assert described.body == (WEB / "asyncapi.json").read_bytes()
        for answer in (page, script, described):
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
            assert "unsafe" not in answer.headers["Content-Security-Policy"]
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
        known = {"If-None-Match": page.headers["Etag"]}
        assert (await world.fetch("/", headers=known)).code == 304
        head = await world.fetch("/", method="HEAD")
        assert (head.code, head.body) == (200, b"")
        for path in ("/web/", "/web/index.html", "/web/../setup.cfg", "/web/skyeim/package.json"):
            assert (await world.fetch(path)).code == 404, path
        assert (await world.fetch("/", method="POST", body=b"")).code == 405


def test_no_file_names_an_address_outside() -> None:
    """But that of the namespace of SVG, which nobody asks for."""
    for path in [*WEB.glob("*.*"), *WEB.glob("skyeim/*.js")]:
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text, path
        assert "https://" not in text.replace("/^https", ""), path


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("mode", "enabled", "page"),
    [("dev", None, 200), ("test", False, 404), ("pro", None, 404), ("pro", True, 200)],
)
async def test_where_there_is_a_page(
    make_world: MakeWorld, mode: str, enabled: bool | None, page: int
) -> None:
    """And nowhere tokens for everybody: this is no demo."""
    settings = {"mode": mode, "web": WebConf(enabled=enabled)}
    async with make_world(settings=settings) as world:
        assert (await world.fetch("/")).code == page
        assert (await world.fetch("/web/main.js")).code == page
        assert (await world.fetch("/demo/users")).code == 404


@pytest.mark.gen_test
async def test_a_demo_has_tokens_for_its_users(make_world: MakeWorld) -> None:
    async with make_world(settings={"demo": True}) as world:
        answer = await world.fetch("/demo/users", headers={"Origin": "https://elsewhere.example"})
        assert "Access-Control-Allow-Origin" not in answer.headers
        users = json.loads(answer.body)["data"]["list"]
        assert [user["userId"] for user in users] == [1001, 1002, 1003]
        for user in users:
            assert tokens.verify(user["token"], [SECRET]).user_id == user["userId"]
