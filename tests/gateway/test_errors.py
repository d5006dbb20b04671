"""The taxonomy, walked: whatever is added to it must fit."""

import re
from typing import get_args

import pytest

from gateway.errors import AccessDenied, BackendRefused, GatewayError, Limited, MethodNotAllowed, SignInEnded, Source


def leaves(kind: type[GatewayError] = GatewayError) -> list[type[GatewayError]]:
    """Every error that can be raised: the classes that have a code."""
    found = [kind] if hasattr(kind, "code") else []
    return found + [leaf for child in kind.__subclasses__() for leaf in leaves(child)]


def build(kind: type[GatewayError], reason: str = "why") -> GatewayError:
    """An instance, whatever else its constructor wants."""
    if issubclass(kind, MethodNotAllowed):
        return kind(reason, allowed=["GET", "HEAD"])
    if issubclass(kind, BackendRefused):
        return kind(reason, status=422)
    if issubclass(kind, AccessDenied):
        return kind(reason, rule="routes.support.require.roles")
    if issubclass(kind, Limited):
        return kind(reason, retry_after=7)
    return kind(reason)


@pytest.mark.parametrize("kind", leaves())
def test_every_error_is_complete(kind: type[GatewayError]) -> None:
    """A status that is an error, a code for programs, a sentence for people, a source that has to act."""
    error = build(kind, "the operator's reason")

    assert 400 <= error.status <= 599
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", error.code)
    assert error.message.endswith(".")
    assert error.source in get_args(Source)
    assert str(error) == "the operator's reason"
    assert error.title == error.code.replace("_", " ").capitalize()


def test_codes_are_unique() -> None:
    """Programs branch on them."""
    codes = [kind.code for kind in leaves()]

    assert sorted(codes) == sorted(set(codes))


@pytest.mark.parametrize("kind", leaves())
def test_the_status_says_who_has_to_act(kind: type[GatewayError]) -> None:
    """A client's fault is never a 5xx, and never worth an unchanged retry; ours and a backend's is no 4xx."""
    error = build(kind)

    if error.source == "client":
        assert (error.status < 500, error.retry) == (True, issubclass(kind, SignInEnded | Limited))  # they say when
    elif not isinstance(error, BackendRefused):
        assert (error.status >= 500, error.retry) == (True, True)


def test_a_refusal_by_the_backend_keeps_its_status() -> None:
    """The only error whose status is not fixed."""
    assert build(BackendRefused).status == 422
