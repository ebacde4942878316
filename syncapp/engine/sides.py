"""The two sides' password work in the handshake (`link.Authenticator`)."""

from __future__ import annotations

import time

from syncapp.engine import links
from syncapp.engine.auth import ActiveAuth, PassiveAuth, Throttle, address_key
from syncapp.engine.links import LinkConfig
from syncapp.store.store import Store


class ActiveSide:
    """The active side's password work (`link.Authenticator`)."""

    def __init__(self, password: str) -> None:
        self._auth = ActiveAuth(password)

    def first(self) -> str:
        return self._auth.first()

    def prove(self, server_first: str) -> str:
        return self._auth.proof(server_first)

    def check(self, server_final: str) -> None:
        self._auth.check(server_final)

    def find(self, store: Store, code: str, client_first: str) -> str:
        raise NotImplementedError

    def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
        raise NotImplementedError


class PassiveSide:
    """The passive side's password work: finds the link, slows down whoever guesses."""

    def __init__(self, throttle: Throttle, code: str, remote: str) -> None:
        self.code = code
        self._throttle = throttle
        # With the code: many programs may share an address behind a router, and one wrong password among them
        # must not shut out the others.
        self._keys = [f"address {address_key(remote)} {code}"]
        self._auth: PassiveAuth | None = None

    def find(self, store: Store, code: str, client_first: str) -> str:
        self.code = self.code or code
        self._throttle.check(self._keys, time.monotonic())
        verifiers = links.verifiers(store, links.candidates(store, self.code))
        self._auth = PassiveAuth(verifiers, client_first, code=self.code)
        return self._auth.challenge()

    def verify(self, store: Store, client_final: str) -> tuple[LinkConfig, str]:
        assert self._auth is not None
        self._throttle.failed(self._keys, time.monotonic())
        link, proof = self._auth.verify(client_final)
        self._throttle.succeeded(self._keys)
        return links.load_one(store, link), proof

    def prove(self, server_first: str) -> str:
        raise NotImplementedError

    def check(self, server_final: str) -> None:
        raise NotImplementedError
