"""The texts that fill ``{detail}`` in sentences of `errors`: what exactly broke on the road, in a few words.

They travel and are stored in English, and are translated where they are shown, by any process: hence all of them are
known here, below everything that uses them. A text may name other params of its error, like a template does.
Whatever is not listed (an operating system's own words, a status number) is shown as it is.
"""

from __future__ import annotations


def N_(text: str) -> str:  # noqa: N802 - gettext's own name for it
    """Mark ``text`` for translation without translating it (extracted by gettext, rendered by `errors.sentence`)."""
    return text


NOTHING_LISTENS = N_("nothing listens there")
NO_ANSWER = N_("no answer within {seconds} s")
UNKNOWN_NAME = N_("its name is not known")
HUNG_UP = N_("it hung up without an answer")
PROXY_REFUSED = N_("the proxy does not let it through")
FORBIDDEN_ADDRESS = N_("it leads to an address that no program can have")
OTHER_WEBSOCKET = N_("a websocket of something else")
NO_WEBSOCKET = N_("no websocket there")
NO_HTTP = N_("no HTTP there")
NO_ENCRYPTION = N_("no encryption there; perhaps http:// is meant")
REDIRECT = N_("it points to {target}")
UNVERIFIED = N_("it cannot be verified")
NO_SECURE_CONNECTION = N_("no secure connection")
OWN_MISTAKE = N_("an error inside this program; its log says more")
NO_PASSWORD = N_("the password of the link is empty")

#: What OpenSSL says of a certificate, as far as people meet it.
_CERTIFICATE = (
    N_("certificate has expired"),
    N_("certificate is not yet valid"),
    N_("self-signed certificate"),
    N_("self-signed certificate in certificate chain"),
    N_("unable to get local issuer certificate"),
)
#: What the operating system says when a connection fails.
_SYSTEM = (
    N_("connection reset by peer"),
    N_("connection timed out"),
    N_("network is unreachable"),
    N_("no route to host"),
    N_("host is down"),
    N_("broken pipe"),
)
#: Of `core.frames`: how a road ended.
_ENDED = (
    N_("without a reason"),
    N_("it is going away"),
    N_("the connection was lost"),
    N_("a message was too big"),
    N_("an error inside it"),
    N_("it is restarting"),
    N_("code {status}"),
)
#: Of `core.address`: what is wrong with an address.
_ADDRESS = (
    N_("it is empty"),
    N_("it contains characters that no address has"),
    N_("it contains two link codes"),
    N_("it does not start with https:// or http://"),
    N_("a name or password does not belong into it"),
    N_("leave out what follows ? or #"),
    N_("the port is missing"),
    N_("the port must be a number from 1 to 65535"),
    N_("the host is missing"),
    N_("an IPv6 address with a zone is not allowed"),
    N_("the host is not a valid name"),
    N_("its path cannot be read"),
    N_("what follows it is not a link code; a code has 26 letters and digits"),
)
#: Of `core`: what a peer did that the protocol does not allow.
_PROTOCOL = (
    N_("an acknowledgement of what was never sent"),
    N_("far more than the window allows"),
    N_("empty frame"),
    N_("a part without a head"),
    N_("compressed, but compression was not agreed"),
)
#: Of `store`: why a value is refused.
_VALUE = (
    N_("the text contains a NUL character"),
    N_("the text contains a lone surrogate"),
    N_("the stored text is not UTF-8"),
)

KNOWN: frozenset[str] = frozenset(
    {
        *(value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str)),
        *_CERTIFICATE,
        *_SYSTEM,
        *_ENDED,
        *_ADDRESS,
        *_PROTOCOL,
        *_VALUE,
    }
)
