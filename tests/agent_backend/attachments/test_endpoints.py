"""Bytes in, bytes out, as the gateway asks for them."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from agent_backend.app import build_app
from agent_backend.attachments.links import Links
from agent_backend.context import Owner
from tests.agent_backend.attachments.world import KEY, PUBLIC_URL, files_in, opened, picture
from tests.agent_backend.world import PATH, Gateway, World, build_world, running_app, user_input

LINKS = Links(public_url=PUBLIC_URL, keys=[KEY])
TEXT = b"some words, and some more"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with build_world(tmp_path) as made:
        yield made


@dataclass(slots=True, kw_only=True)
class User:
    """One user's requests, as the gateway forwards them."""

    gateway: Gateway
    http: httpx.AsyncClient
    files: Path
    name: str = "alice"

    @property
    def owner(self) -> Owner:
        return Owner(issuer="https://login.test", subject=self.name)

    async def ask(self, method: str, target: str, *, content: Any = b"", **headers: str) -> httpx.Response:
        """An opaque request: the assertion says nothing about the body."""
        req = {"method": method, "path": target, "sha256": None}
        asserted = self.gateway.assertion(b"", user=self.name, req=req)
        request = self.http.build_request(
            method, "/", content=content, headers={"x-gateway-assertion": asserted} | headers
        )
        request.url = request.url.copy_with(raw_path=target.encode())
        return await self.http.send(request)

    async def follow(self, method: str, url: str, **options: Any) -> httpx.Response:
        """A link at the gateway, which ends at ours."""
        parts = urlsplit(url)
        return await self.ask(method, parts.path + (f"?{parts.query}" if parts.query else ""), **options)

    async def chat(self, operation: str, **params: Any) -> httpx.Response:
        body = json.dumps({"type": operation, "params": params}).encode()
        return await self.http.post(PATH, content=body, headers=self.gateway.headers(body, user=self.name))

    async def announce(self, size: int, *, name: str = "a.txt", media_type: str = "text/plain") -> dict[str, Any]:
        answer = await self.chat("attachments.create", name=name, size=size, mime_type=media_type)
        assert answer.status_code == 200, answer.text
        announced: dict[str, Any] = answer.json()
        return announced

    async def upload(self, data: bytes, *, name: str = "a.txt", media_type: str = "text/plain") -> dict[str, Any]:
        announced = await self.announce(len(data), name=name, media_type=media_type)
        answer = await self.follow("PUT", announced["upload_descriptor"]["url"], content=data)
        assert answer.status_code == 200, answer.text
        uploaded: dict[str, Any] = answer.json()
        return uploaded

    async def send_form(self, data: bytes, **options: str) -> httpx.Response:
        body, headers = form_of(data, **options)
        return await self.ask("POST", "/attachments", content=body, **headers)

    async def download(self, attachment_id: str, method: str = "GET", **headers: str) -> httpx.Response:
        return await self.follow(method, LINKS.download(attachment_id, self.owner), **headers)


def form_of(data: bytes, *, name: str = "a.txt", media_type: str = "text/plain") -> tuple[bytes, dict[str, str]]:
    request = httpx.Request("POST", "http://x/", files={"file": (name, data, media_type)})
    return request.read(), {"content-type": request.headers["content-type"]}


@asynccontextmanager
async def backend(world: World, **changes: Any) -> AsyncIterator[User]:
    table = {"directory": world.folder / "files", "public_url": PUBLIC_URL, "url_keys": [KEY], **changes}
    async with running_app(build_app(world.settings(attachments=table))) as http:
        yield User(gateway=world.gateway, http=http, files=world.folder / "files")


def another(user: User, name: str = "mallory") -> User:
    return User(gateway=user.gateway, http=user.http, files=user.files, name=name)


async def test_two_phases(world: World) -> None:
    """Announced with a place for the bytes, then uploaded; the answer has none of it any more, nor any metadata."""
    async with backend(world) as user:
        announced = await user.announce(len(TEXT))
        assert announced["upload_descriptor"]["method"] == "PUT"

        answer = await user.follow("PUT", announced["upload_descriptor"]["url"], content=TEXT)

        assert answer.status_code == 200
        assert answer.json() == {"id": announced["id"], "name": "a.txt", "mime_type": "text/plain", "type": "file"}
        assert [path.read_bytes() for path in files_in(user.files)] == [TEXT]


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_the_second_phase_takes_a_form_too(world: World, method: str) -> None:
    """Older clients send one; with the method that is set."""
    async with backend(world, upload_method=method) as user:
        announced = await user.announce(len(TEXT))
        body, headers = form_of(TEXT)

        answer = await user.follow(method, announced["upload_descriptor"]["url"], content=body, **headers)

        assert (answer.status_code, announced["upload_descriptor"]["method"]) == (200, method)
        assert [path.read_bytes() for path in files_in(user.files)] == [TEXT]


async def test_direct_upload(world: World) -> None:
    """A form in, the attachment's JSON out; a picture's has its preview."""
    async with backend(world) as user:
        text, image = (
            await user.send_form(TEXT, name="../ü.txt"),
            await user.send_form(picture((1000, 500)), name="a.png", media_type="image/png"),
        )

        assert (text.json()["name"], text.json()["type"]) == ("ü.txt", "file")
        preview = await user.follow("GET", image.json()["preview_url"])
        assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")
        assert opened(preview.content).size == (512, 256)
        assert preview.headers["x-content-type-options"] == "nosniff"
        assert "content-disposition" not in preview.headers


async def test_a_download_is_saved_and_can_do_nothing(world: World) -> None:
    """As it was uploaded, under its name; a page is called a text, and nobody guesses better."""
    page = b"<script>alert(1)</script>"
    async with backend(world) as user:
        uploaded = await user.upload(page, name='naïve "page".html', media_type="text/html")

        answer = await user.download(uploaded["id"])

        assert answer.content == page
        kept = ("content-type", "content-disposition", "x-content-type-options", "content-security-policy")
        assert [answer.headers[name] for name in kept] == [
            "text/plain",
            "attachment; filename=\"na_ve _page_.html\"; filename*=UTF-8''na%C3%AFve%20%22page%22.html",
            "nosniff",
            "sandbox; default-src 'none'",
        ]
        assert answer.headers["cache-control"].startswith("private")


async def test_a_part_of_a_download(world: World) -> None:
    """One range; HEAD says how much there is; a condition that does not hold gives all of it."""
    async with backend(world) as user:
        uploaded = await user.upload(TEXT)
        head = await user.download(uploaded["id"], "HEAD")
        part = await user.download(uploaded["id"], range="bytes=5-9")
        same = await user.download(uploaded["id"], range="bytes=5-9", **{"if-range": head.headers["etag"]})
        other = await user.download(uploaded["id"], range="bytes=5-9", **{"if-range": '"other"'})
        behind = await user.download(uploaded["id"], range="bytes=1000-")

        assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(TEXT)), b"")
        assert (part.status_code, part.content) == (206, TEXT[5:10])
        assert part.headers["content-range"] == f"bytes 5-9/{len(TEXT)}"
        assert (same.status_code, other.status_code, other.content) == (206, 200, TEXT)
        assert (behind.status_code, behind.headers["content-range"]) == (416, f"bytes */{len(TEXT)}")


async def test_links_for_a_page(world: World) -> None:
    """Asked for by cookie, good at once; for nobody else, and not before there are bytes."""
    async with backend(world) as user:
        uploaded = await user.upload(picture(), name="a.png", media_type="image/png")
        announced = await user.announce(5)

        links = (await user.ask("GET", f"/attachments?id={uploaded['id']}")).json()

        assert (links["name"], links["mime_type"], links["size"]) == ("a.png", "image/png", len(picture()))
        for name in ("download_url", "preview_url"):
            assert (await user.follow("GET", links[name])).status_code == 200
        for asked, name in [(another(user), uploaded["id"]), (user, announced["id"]), (user, ""), (user, "x%00y")]:
            assert (await asked.ask("GET", f"/attachments?id={name}")).status_code == 404


OPERATIONS = [
    ("PUT", "content", LINKS.upload),
    ("GET", "content", LINKS.download),
    ("HEAD", "content", LINKS.download),
    ("GET", "preview", LINKS.preview),
]


@pytest.mark.parametrize(("method", "what", "sign"), OPERATIONS)
async def test_nobody_elses_bytes_can_be_reached(world: World, method: str, what: str, sign: Any) -> None:
    """Neither with a link that was signed for the owner, nor with one that was signed for oneself."""
    async with backend(world) as user:
        uploaded, announced = await user.upload(picture(), media_type="image/png"), await user.announce(5)
        attachment_id = announced["id"] if method == "PUT" else uploaded["id"]
        mallory, files = another(user), [path.read_bytes() for path in files_in(user.files)]

        for owner in (user.owner, mallory.owner):
            answer = await mallory.follow(
                method, sign(attachment_id, owner), content=b"words" if what == "PUT" else b""
            )
            assert answer.status_code == 404

        assert [path.read_bytes() for path in files_in(user.files)] == files


async def test_nobody_elses_metadata_can_be_reached(world: World) -> None:
    """Deleting and sending are 404; and no thread is made for a message that cannot be."""
    async with backend(world) as user:
        uploaded = await user.upload(TEXT)
        mallory = another(user)
        before = await user.download(uploaded["id"])

        deleted = await mallory.chat("attachments.delete", attachment_id=uploaded["id"])
        sent = await mallory.chat("threads.create", input=user_input("hi", attachments=[uploaded["id"]]))

        assert (deleted.status_code, sent.status_code) == (404, 404)
        assert (await user.download(uploaded["id"])).content == before.content
        assert (await mallory.chat("threads.list")).json()["data"] == []


async def test_a_message_waits_for_its_attachments(world: World) -> None:
    """Not uploaded yet: 409, and no thread; of another conversation: 409."""
    async with backend(world) as user:
        announced, uploaded = await user.announce(5), await user.upload(TEXT)

        early = await user.chat("threads.create", input=user_input("hi", attachments=[announced["id"]]))
        assert (early.status_code, early.json()["code"]) == (409, "attachment_not_uploaded")
        assert (await user.chat("threads.list")).json()["data"] == []

        first = await user.chat("threads.create", input=user_input("hi", attachments=[uploaded["id"]]))
        second = await user.chat("threads.create", input=user_input("hi", attachments=[uploaded["id"]]))
        assert (first.status_code, second.status_code) == (200, 409)
        assert second.json()["code"] == "attachment_elsewhere"
        [thread] = (await user.chat("threads.list")).json()["data"]
        again = await user.chat(
            "threads.add_user_message", thread_id=thread["id"], input=user_input("again", attachments=[uploaded["id"]])
        )
        assert again.status_code == 200


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.partition("?")[0],
        lambda url: url[:-2],
        lambda url: url.replace("/content", "/preview"),
        lambda url: url + "&x=1",
    ],
)
async def test_an_altered_link_is_refused_here_too(world: World, spoil: Any) -> None:
    """Even under a good assertion: the gateway's word is not enough."""
    async with backend(world) as user:
        uploaded = await user.upload(TEXT)

        answer = await user.follow("GET", spoil(LINKS.download(uploaded["id"], user.owner)))

        assert (answer.status_code, answer.json()["code"]) == (403, "attachment_link_refused")


async def test_an_expired_link_is_refused_here_too(world: World) -> None:
    """After its minutes by our own clock."""
    past = Links(public_url=PUBLIC_URL, keys=[KEY], clock=lambda: 1_700_000_000.0)
    async with backend(world) as user:
        uploaded = await user.upload(TEXT)

        answer = await user.follow("GET", past.download(uploaded["id"], user.owner))

        assert (answer.status_code, answer.json()["code"]) == (403, "attachment_link_refused")


async def test_only_the_gateway_may_ask(world: World) -> None:
    """No assertion, one about another path, one used before, and one about a body: 401, whatever the link."""
    async with backend(world) as user:
        uploaded = await user.upload(TEXT)
        parts = urlsplit(LINKS.download(uploaded["id"], user.owner))
        target = f"{parts.path}?{parts.query}"
        req = {"method": "GET", "path": target, "sha256": None}
        good = user.gateway.assertion(b"", req=req)
        asserted = [
            {},
            {"x-gateway-assertion": user.gateway.assertion(b"", req={**req, "path": "/attachments/x/content"})},
            {"x-gateway-assertion": user.gateway.assertion(b"", req={**req, "sha256": "0" * 64})},
            {"x-gateway-assertion": good},
            {"x-gateway-assertion": good},
        ]

        answers = [await user.http.get(target, headers=headers) for headers in asserted]

        assert [answer.status_code for answer in answers] == [401, 401, 401, 200, 401]


async def test_chat_still_wants_to_know_the_body(world: World) -> None:
    """An assertion that says nothing about the body opens uploads and downloads only."""
    async with backend(world) as user:
        body = json.dumps({"type": "threads.list", "params": {}}).encode()

        answer = await user.ask("POST", PATH, content=body)

        assert (answer.status_code, answer.json()["code"]) == (401, "assertion_unbound_body")


@pytest.mark.parametrize(
    ("data", "media_type", "status", "code"),
    [
        (b"x" * 1001, "text/plain", 413, "attachment_too_large"),
        (b"x" * 100_000, "text/plain", 413, "attachment_too_large"),
        (b"", "text/plain", 400, "attachment_empty"),
        (b"\x00\x01", "text/plain", 415, "attachment_type_differs"),
        (b"MZ\x90\x00\x03", "application/x-msdownload", 415, "attachment_type_not_accepted"),
        (b"MZ\x90\x00\x03", "application/octet-stream", 415, "attachment_type_not_accepted"),
        (b"<svg/>", "image/svg+xml", 415, "attachment_type_not_accepted"),
    ],
)
async def test_what_is_refused_leaves_nothing(
    world: World, data: bytes, media_type: str, status: int, code: str
) -> None:
    """With a stable code, and a message for the user."""
    async with backend(world, max_bytes=1000) as user:
        answer = await user.send_form(data, media_type=media_type)

        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.json()["message"]
        assert files_in(user.files) == []


async def test_a_form_with_no_file_is_refused(world: World) -> None:
    async with backend(world) as user:
        for content, headers in [
            (b"x", {"content-type": "text/plain"}),
            (b"x", {"content-type": "multipart/form-data"}),
        ]:
            answer = await user.ask("POST", "/attachments", content=content, **headers)
            assert (answer.status_code, answer.json()["code"]) == (400, "attachment_form_invalid")


async def test_deleting_takes_the_bytes(world: World) -> None:
    """Through ChatKit's own operation; a second time, and the link, are 404."""
    async with backend(world) as user:
        uploaded = await user.upload(picture(), media_type="image/png")

        first = await user.chat("attachments.delete", attachment_id=uploaded["id"])
        second = await user.chat("attachments.delete", attachment_id=uploaded["id"])

        assert (first.status_code, second.status_code) == (200, 404)
        assert files_in(user.files) == []
        assert (await user.download(uploaded["id"])).status_code == 404


async def test_without_a_directory_there_are_no_attachments(world: World) -> None:
    """A clean 400 in ChatKit, no such path for bytes, and readiness says nothing of them."""
    async with running_app(build_app(world.settings())) as http:
        user = User(gateway=world.gateway, http=http, files=world.folder)
        created = await user.chat("attachments.create", name="a", size=1, mime_type="text/plain")
        uploaded = await user.send_form(TEXT)
        ready = await http.get("/readyz")

    assert (created.status_code, created.json()["code"]) == (400, "operation_not_supported")
    assert uploaded.status_code == 404
    assert (ready.status_code, "attachments" in ready.json()["checks"]) == (200, False)


async def test_readiness_looks_at_the_directory(world: World) -> None:
    """Not ready while nothing can be stored; ready again by itself."""
    async with backend(world) as user:
        good = await user.http.get("/readyz")
        user.files.rename(world.folder / "away")
        user.files.write_text("a file is in the way")
        bad = await user.http.get("/readyz")
        refused = await user.send_form(TEXT)
        user.files.unlink()
        again = await user.http.get("/readyz")

    assert [answer.json()["checks"]["attachments"] for answer in (good, bad, again)] == ["ok", "unavailable", "ok"]
    assert (bad.status_code, again.status_code) == (503, 200)
    assert (refused.status_code, refused.json()["code"]) == (503, "attachment_storage_unavailable")
