"""Attachments through the running gateway: the example of `deploy/examples/attachments`, from upload to deletion."""

import contextlib
import io
import time
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from PIL import Image

from agent_backend.app import build_app
from agent_backend.attachments.links import Links
from agent_backend.context import Owner
from agent_backend.offline_model import OfflineModel
from agent_backend.settings import Settings
from tests.support.issuer import Issuer
from tests.support.raw import connected
from tests.support.running import running_gateway
from tests.support.servers import free_port, serve
from tests.together.world import ORIGIN, Browser, issuer_app, thread_id, user_input

KEY = "replace me: 32 random characters or more"
TEXT = b"some words, and some more"
# Bytes. Above what the tests upload, below what they try to upload too much.
MAX_BYTES = 200_000

EXAMPLE = Path(__file__).parents[2] / "deploy/examples/attachments"


def example(name: str, replacements: dict[str, str]) -> str:
    """A file of the example, with this test's addresses in it."""
    toml = (EXAMPLE / name).read_text()
    for old, new in replacements.items():
        assert old in toml
        toml = toml.replace(old, new)
    return toml


class Model(OfflineModel):
    """Answers at once, and remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(word_delay=0)
        self.given: list[Any] = []

    async def stream_response(self, *arguments: Any, **options: Any) -> Any:
        self.given.append(options.get("input", arguments[1] if len(arguments) > 1 else None))
        async for event in super().stream_response(*arguments, **options):
            yield event


@dataclass(slots=True, kw_only=True)
class World:
    """What runs, and where the bytes are."""

    issuer: Issuer
    url: str
    folder: Path
    model: Model

    def page(self, subject: str = "alice") -> "Page":
        browser = Browser(url=self.url, token=self.issuer.token(subject))
        owner = Owner(issuer=self.issuer.issuer, subject=subject)
        return Page(browser=browser, owner=owner, links=Links(public_url=f"{self.url}/attachments", keys=[KEY]))

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.folder.rglob("*")) if path.is_file()]


@dataclass(slots=True, kw_only=True)
class Page:
    """One user's page: requests with a cookie, and links, which it follows without one."""

    browser: Browser
    owner: Owner
    links: Links

    def announce(self, size: int, *, name: str = "a.txt", media_type: str = "text/plain") -> dict[str, Any]:
        answer = self.browser.send("attachments.create", name=name, size=size, mime_type=media_type)
        assert answer.status_code == 200, answer.text
        announced: dict[str, Any] = answer.json()
        return announced

    def upload(self, data: bytes, *, name: str = "a.txt", media_type: str = "text/plain") -> str:
        announced = self.announce(len(data), name=name, media_type=media_type)
        answer = follow(announced["upload_descriptor"]["method"], announced["upload_descriptor"]["url"], content=data)
        assert answer.status_code == 200, answer.text
        return str(announced["id"])

    def send_form(self, data: bytes, *, name: str = "a.txt", media_type: str = "text/plain") -> httpx.Response:
        headers = {name: value for name, value in self.browser.all_headers().items() if name != "content-type"}
        return httpx.post(
            f"{self.browser.url}/attachments", files={"file": (name, data, media_type)}, headers=headers, timeout=20
        )

    def download(self, attachment_id: str) -> httpx.Response:
        return follow("GET", self.links.download(attachment_id, self.owner))

    def threads(self) -> list[Any]:
        found: list[Any] = self.browser.send("threads.list").json()["data"]
        return found


def follow(method: str, url: str, **options: Any) -> httpx.Response:
    """As ChatKit's frame does: from another site, without a cookie."""
    return httpx.request(method, url, headers={"origin": ORIGIN, "sec-fetch-site": "cross-site"}, timeout=20, **options)


@contextlib.contextmanager
def running(folder: Path, **table: Any) -> Iterator[World]:
    issuer, port, model = Issuer(issuer="https://login.example.com"), free_port(), Model()
    backend = {"http://127.0.0.1:9000": f"http://127.0.0.1:{port}"}
    own = {"port = 8080\npublic_url": "port = 0\ndrain_delay = 0\n# public_url"}
    with contextlib.ExitStack() as stack:
        keys = {"http://127.0.0.1:8081": stack.enter_context(serve(issuer_app(issuer)))}
        url = stack.enter_context(running_gateway(folder, example("gateway.toml", {**backend, **own, **keys})))
        here = {"sqlite:///": f"sqlite:///{folder}/", '"attachments"': f'"{folder}/files"'}
        values = tomllib.loads(example("backend.toml", {"http://127.0.0.1:8080": url, **here}))
        values["attachments"] |= {"max_bytes": MAX_BYTES, **table}
        stack.enter_context(serve(build_app(Settings(**values), model=model), port=port))
        yield World(issuer=issuer, url=url, folder=folder / "files", model=model)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("attachments")) as made:
        yield made


def picture(size: tuple[int, int] = (800, 400)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, "teal").save(buffer, "JPEG", comment=b"SECRET place")
    return buffer.getvalue()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_phases_and_a_conversation(world: World) -> None:
    """Announce, upload by link from another site, send, answer; and the model has seen it."""
    page = world.page("two-phases")
    attachment_id = page.upload(TEXT, name="notes.txt")

    events = page.browser.stream("threads.create", input=user_input("see") | {"attachments": [attachment_id]})

    sent: Any = next(event for event in events if event.type == "thread.item.done")
    assert [attachment.id for attachment in sent.item.attachments] == [attachment_id]
    parts = [part for item in world.model.given[-1] if item.get("role") == "user" for part in item["content"]]
    assert TEXT.decode() in parts[-1]["text"]
    assert page.download(attachment_id).content == TEXT


def test_a_direct_upload_by_cookie(world: World) -> None:
    """The page's own request, with its origin checked; a picture comes back with a preview that any site may show."""
    page = world.page("direct")

    answer = page.send_form(picture(), name="photo.jpg", media_type="image/jpeg")

    assert answer.status_code == 200, answer.text
    image = answer.json()
    assert (image["type"], image["name"], image["mime_type"]) == ("image", "photo.jpg", "image/jpeg")
    assert image["preview_url"].startswith(f"{world.url}/attachments/{image['id']}/preview?signature=")
    preview = follow("GET", image["preview_url"])
    assert (preview.status_code, preview.headers["content-type"]) == (200, "image/jpeg")
    assert Image.open(io.BytesIO(preview.content)).size == (512, 256)
    assert b"SECRET" not in preview.content
    links = httpx.get(f"{world.url}/attachments?id={image['id']}", headers=page.browser.all_headers()).json()
    assert follow("GET", links["download_url"]).content == picture()


def test_a_download_is_saved_and_can_do_nothing(world: World) -> None:
    """Under its name, as a plain text, inert; in parts too; HEAD says how much."""
    page = world.page("download")
    attachment_id = page.upload(b"<script>alert(1)</script>", name="ü.html", media_type="text/html")
    url = page.links.download(attachment_id, page.owner)

    whole, head = follow("GET", url), follow("HEAD", url)
    part = httpx.get(url, headers={"range": "bytes=1-6"})

    assert whole.headers["content-type"] == "text/plain"
    assert whole.headers["content-disposition"] == "attachment; filename=\"_.html\"; filename*=UTF-8''%C3%BC.html"
    assert whole.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "25", b"")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"script", "bytes 1-6/25")


def test_an_old_conversation_shows_its_pictures(world: World) -> None:
    """Every list has links of its own, good from then on; what is stored has none."""
    page = world.page("old")
    image = page.send_form(picture(), name="a.jpg", media_type="image/jpeg").json()
    events = page.browser.stream("threads.create", input=user_input("see") | {"attachments": [image["id"]]})

    items = page.browser.send("items.list", thread_id=thread_id(events)).json()["data"]
    thread = page.browser.send("threads.get_by_id", thread_id=thread_id(events)).json()

    for listed in (items, thread["items"]["data"]):
        [url] = [entry["preview_url"] for item in listed for entry in item.get("attachments", ())]
        assert follow("GET", url).status_code == 200
    assert any(part["type"] == "input_image" for item in world.model.given[-1] for part in item["content"])


def test_nobody_elses_metadata_or_bytes(world: World) -> None:
    """Another user's attachment is 404 in ChatKit and by link, and stays as it is."""
    alice, mallory = world.page("alice"), world.page("mallory")
    attachment_id, pending = alice.upload(TEXT), alice.announce(5)["id"]

    answers = [
        mallory.browser.send("attachments.delete", attachment_id=attachment_id),
        mallory.browser.send("threads.create", input=user_input("x") | {"attachments": [attachment_id]}),
        follow("GET", mallory.links.download(attachment_id, mallory.owner)),
        follow("HEAD", mallory.links.download(attachment_id, mallory.owner)),
        follow("GET", mallory.links.preview(attachment_id, mallory.owner)),
        follow("PUT", mallory.links.upload(pending, mallory.owner), content=b"words"),
        httpx.get(f"{world.url}/attachments?id={attachment_id}", headers=mallory.browser.all_headers()),
    ]

    assert [answer.status_code for answer in answers] == [404] * 7
    assert mallory.threads() == []
    assert alice.download(attachment_id).content == TEXT


def test_a_message_that_names_what_is_not_uploaded_is_refused(world: World) -> None:
    """Before the stream, as JSON: 409 for one that is expected, 404 for one that never was; no thread is left."""
    page = world.page("early")
    expected = page.announce(5)["id"]

    answers = [
        page.browser.send("threads.create", input=user_input("x") | {"attachments": [name]})
        for name in (expected, "atc_unknown")
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (409, "attachment_not_uploaded"),
        (404, "not_found"),
    ]
    assert page.threads() == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda url: url.partition("?")[0],
        lambda url: url[:-2] + "xx",
        lambda url: url.replace("/content", "/preview"),
        lambda url: url + "&more=1",
    ],
)
def test_an_altered_link_opens_nothing(world: World, spoil: Callable[[str], str]) -> None:
    """The gateway refuses it; not even the owner's cookie helps."""
    page = world.page("altered")
    url = spoil(page.links.download(page.upload(TEXT), page.owner))

    answer = httpx.get(url, headers=page.browser.all_headers())

    assert (answer.status_code, TEXT in answer.content) == (401, False)


def test_an_expired_link_opens_nothing(world: World) -> None:
    """Signed two hours ago for one."""
    page = world.page("expired")
    past = Links(public_url=f"{world.url}/attachments", keys=[KEY], clock=lambda: time.time() - 2 * 3600)

    answer = follow("GET", past.download(page.upload(TEXT), page.owner))

    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


def endless(size: int) -> Iterator[bytes]:
    """A body whose length nobody knows beforehand."""
    for _ in range(size // 10_000):
        yield b"x" * 10_000


def test_what_is_too_large_is_cut_off(world: World) -> None:
    """By the announced size, by the limit, declared or not; nothing stays."""
    page, before = world.page("large"), world.files()

    def large() -> httpx.Response:
        announced = page.announce(MAX_BYTES)
        return follow("PUT", announced["upload_descriptor"]["url"], content=endless(2 * MAX_BYTES))

    announced = page.browser.send("attachments.create", name="a", size=MAX_BYTES + 1, mime_type="text/plain")
    answers = [announced, large(), page.send_form(b"x" * (MAX_BYTES + 1))]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(413, "attachment_too_large")] * 3
    assert all(answer.json()["message"] for answer in answers)
    assert world.files() == before


def test_what_is_of_another_type_is_refused(world: World) -> None:
    """By its content, whatever it is called; nothing stays."""
    page, before = world.page("types"), world.files()
    program = b"MZ\x90\x00\x03\x00\x00\x00"
    announced = page.announce(len(program), name="a.png", media_type="image/png")

    answers = [
        follow("PUT", announced["upload_descriptor"]["url"], content=program),
        page.send_form(program, name="a.txt", media_type="text/plain"),
        page.send_form(program, name="a.exe", media_type="application/octet-stream"),
        page.send_form(b"<svg/>", name="a.svg", media_type="image/svg+xml"),
    ]

    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [
        (415, "attachment_type_differs"),
        (415, "attachment_type_differs"),
        (415, "attachment_type_not_accepted"),
        (415, "attachment_type_not_accepted"),
    ]
    assert world.files() == before


@pytest.mark.parametrize("is_direct", [False, True])
def test_a_client_that_leaves_in_mid_upload_leaves_nothing(world: World, is_direct: bool) -> None:
    """The half file is there while the client is, and gone when it is."""
    page, before = world.page(f"leaves-{is_direct}"), len(world.files())
    if is_direct:
        form = b'--B\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        target, headers, half = "/attachments", page.browser.all_headers(), form + b"x" * 50_000
        headers["content-type"] = "multipart/form-data; boundary=B"
    else:
        parts = urlsplit(page.announce(100_000)["upload_descriptor"]["url"])
        target, headers, half = f"{parts.path}?{parts.query}", {}, b"x" * 50_000
    lines = [f"{'POST' if is_direct else 'PUT'} {target} HTTP/1.1", "host: gateway", "content-length: 100000"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + b"\r\n\r\n"

    with connected(int(world.url.rpartition(":")[2])) as client:
        client.send(head + half)
        until(lambda: len(world.files()) == before + 1)

    until(lambda: len(world.files()) == before)


def test_deleting_takes_the_bytes(world: World) -> None:
    """One attachment, or all of a conversation with it."""
    page, before = world.page("deletes"), world.files()
    first = page.send_form(picture(), media_type="image/jpeg").json()["id"]
    second = page.upload(TEXT)
    events = page.browser.stream("threads.create", input=user_input("see") | {"attachments": [second]})

    assert page.browser.send("attachments.delete", attachment_id=first).status_code == 200
    assert follow("GET", page.links.preview(first, page.owner)).status_code == 404
    assert page.browser.send("threads.delete", thread_id=thread_id(events)).status_code == 200
    assert page.download(second).status_code == 404
    assert world.files() == before


def test_a_conversation_outlives_its_attachment(world: World) -> None:
    """It was deleted, or its bytes were lost: the next answer comes, and the model is told."""
    page = world.page("outlives")
    attachment_id = page.upload(TEXT)
    events = page.browser.stream("threads.create", input=user_input("see") | {"attachments": [attachment_id]})
    page.browser.send("attachments.delete", attachment_id=attachment_id)

    again = page.browser.say("and now?", thread_id(events))

    assert again[-1].type == "thread.item.done"
    assert "it is not there any more" in str(world.model.given[-1])


def test_room_is_shared_by_all_of_a_users_attachments(tmp_path: Path) -> None:
    """Beyond it a clear refusal; another user still has all of theirs; deleting makes room."""
    with running(tmp_path, quota=60, max_pending=2) as world:
        alice, bob = world.page("alice"), world.page("bob")
        first, _ = alice.upload(TEXT), alice.upload(TEXT)

        full = alice.browser.send("attachments.create", name="a", size=25, mime_type="text/plain")
        assert (full.status_code, full.json()["code"]) == (409, "attachment_quota_exceeded")
        bob.upload(TEXT)
        alice.browser.send("attachments.delete", attachment_id=first)
        alice.upload(TEXT)
        bob.announce(1), bob.announce(1)
        many = bob.browser.send("attachments.create", name="a", size=1, mime_type="text/plain")
        assert (many.status_code, many.json()["code"]) == (409, "attachment_too_many_pending")
