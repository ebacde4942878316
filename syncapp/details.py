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
#: What a lossy pair of types loses; see `core.kinds`.
LOSS_CUT = N_("texts are cut to {most} characters")
LOSS_LONGER = N_("values longer than {most} are refused")
LOSS_RANGE = N_("numbers outside {low}…{high} are refused")
LOSS_ROUNDED = N_("numbers are rounded to {places} decimal places")
LOSS_DIGITS = N_("numbers with more than {most} digits before the point are refused")
LOSS_FLOAT = N_("numbers with more than {most} digits are rounded")
LOSS_FRACTION = N_("numbers are rounded")
LOSS_TRUTH = N_("numbers other than 0 and 1 are refused")
LOSS_MIDNIGHT = N_("dates become midnight in the time zone of the program that receives them")
LOSS_CLOCK = N_("times of day are left out")

# Of `store`: why a value is refused; see `store.faults`.
EMPTY = N_("the field cannot be empty")
NUL = N_("the text contains a NUL character")
SURROGATE = N_("the text contains a lone surrogate")
NOT_UTF8 = N_("the stored text is not UTF-8")
TOO_LONG = N_("{count} characters, at most {most} are allowed")
TOO_MANY_BYTES = N_("{count} bytes, at most {most} are allowed")
NO_TEXT = N_("{shown} is not a text")
NO_INTEGER = N_("{shown} is not an integer")
OUT_OF_RANGE = N_("{shown} is outside {low}…{high}")
NO_TRUTH = N_("{shown} is not a truth value")
NO_DECIMAL = N_("{shown} is not a decimal number")
NOT_PLAIN = N_("{shown} is not a decimal number in plain notation")
WRONG_PLACES = N_("{shown}: exactly {places} decimal places are expected")
TOO_MANY_PLACES = N_("{shown}: at most {places} decimal places are allowed")
TOO_MANY_DIGITS = N_("{shown} has more than {most} digits before the point")
SIGNED_ZERO = N_("zero has no sign")
TOO_EXACT = N_("{shown}: SQLite keeps {most} significant digits")
NO_NUMBER = N_("{shown} is not a number")
NOT_FINITE = N_("{shown} is not a finite number")
TOO_BIG = N_("{shown} is outside 64 bits")
TOO_BIG_FOR_FLOAT = N_("{shown} is not exact as a floating point number")
NO_DATE = N_("{shown} is not a date")
NO_TIME = N_("{shown} is not a time of day")
NO_MOMENT = N_("{shown} is not a date and time")
NO_MOMENT_OURS = N_("{shown} is not a date and time between the years 1 and 9999")
NO_MOMENT_UTC = N_("{shown} is not a date and time in UTC")
NO_SUCH_HOUR = N_("{shown} does not exist in the time zone {zone}: clocks skip that hour")
DOUBLED_HOUR = N_(
    "{shown} falls into the hour that clocks in {zone} repeat; a program without time zones (USE_TZ) cannot tell its "
    "two times apart"
)
NO_DURATION = N_("{shown} is not a finite length of time")
NO_KEY_NUMBER = N_("{shown} is not a number of the key's range")
NO_UUID = N_("{shown} is not a UUID")
NO_ADDRESS = N_("{shown} is not an IP address")
NO_JSON = N_("{shown} is not JSON")
NO_JSON_VALUE = N_("{shown} is not a JSON value")
TOO_DEEP = N_("nested deeper than {most} levels")
TOO_EXACT_FLOAT = N_("{shown} has more digits than a floating point number")
NO_BINARY = N_("{shown} is not binary data")
NO_KEY = N_("{shown} is not a key")
NO_KEYS = N_("{shown} is not a list of keys")
OTHER_TYPE = N_("{shown} is stored in a field of another type")
NO_USER = N_("{shown} is not a user: login, full name and ID are expected")
USER_GONE = N_("the user No. {shown} does not exist")
NOT_MAPPED = N_("{shown} is not in the map")
NO_UID = N_("a relation travels as a uid")
NO_MATCH = N_("{shown} is no key of the match fields here")
NO_UIDS = N_("relations travel as a list of uids")

KNOWN: frozenset[str] = frozenset(
    {
        *(value for name, value in list(globals().items()) if name.isupper() and isinstance(value, str)),
        *_CERTIFICATE,
        *_SYSTEM,
        *_ENDED,
        *_ADDRESS,
        *_PROTOCOL,
    }
)
