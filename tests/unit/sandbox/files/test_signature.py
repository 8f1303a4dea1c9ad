"""Signed addresses."""

from urllib.parse import parse_qsl, urlsplit

import pytest

from ftrackd.sandbox.files.signature import Signer


class Clock:
    def __init__(self):
        self.now = 1_700_000_000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def signer(clock):
    return Signer(lifetime_s=60, clock=clock)


def parameters(address):
    return dict(parse_qsl(urlsplit(address).query))


def test_when_signed_then_valid_until_it_expires(signer, clock):
    query = parameters(signer.sign("/component/get", {"id": "ä b&c", "size": "3"}))
    assert query["id"] == "ä b&c"
    assert signer.verify("/component/get", query)
    clock.now += 59
    assert signer.verify("/component/get", query)
    clock.now += 2
    assert not signer.verify("/component/get", query)


def test_when_lifetime_is_stated_then_it_counts(signer, clock):
    query = parameters(signer.sign("/widget", {"id": "1"}, lifetime_s=5))
    clock.now += 6
    assert not signer.verify("/widget", query)


@pytest.mark.parametrize(
    "change", [{"id": "2"}, {"expires": "9999999999"}, {"signature": "0"}, {"more": "1"}, {"expires": "x"}]
)
def test_when_anything_is_changed_then_invalid(signer, change):
    query = parameters(signer.sign("/component/get", {"id": "1"}))
    assert not signer.verify("/component/get", {**query, **change})


def test_when_used_for_another_path_or_server_then_invalid(signer, clock):
    query = parameters(signer.sign("/component/get", {"id": "1"}))
    assert not signer.verify("/component/thumbnail", query)
    assert not Signer(lifetime_s=60, clock=clock).verify("/component/get", query)
    assert not signer.verify("/component/get", {"id": "1"})
