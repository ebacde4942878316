"""How the messages of one conversation are encoded: the form, and whether they are compressed."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from syncapp import conf
from syncapp.core.codec import Decoder, Encoder
from syncapp.core.messages import Hello
from syncapp.engine.compression import compress, decompress


class Codec:
    """A conversation's encoder and decoder. Compression is for authenticated peers only, and not on one machine."""

    def __init__(self) -> None:
        self.encoder = Encoder()
        self.decoder = Decoder(conf.current().max_message)

    def understand(self) -> None:
        """We are about to say that we can unpack: do."""
        self.decoder.decompress = decompress

    def agree(self, hello: Hello, remote: str) -> None:
        """Compress from now on if the peer can unpack and the way is worth it."""
        if "zstd" in hello.capabilities and not is_loopback(remote):
            self.encoder.compress = compress


def is_loopback(remote: str) -> bool:
    """Whether ``remote`` (an address, or a site's address) is this machine."""
    host = urlsplit(remote).hostname if "://" in remote else remote
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost"
