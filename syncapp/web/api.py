"""The JSON API of the panel (django-ninja) at ``/sync/api/``; described at ``/sync/api/openapi.json``.

Session login of staff; writing needs the CSRF token. Every error is ``{"detail": sentence, "field": name}``,
the name being empty where no parameter is at fault.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.translation import get_language, gettext
from ninja import NinjaAPI, Query, Schema, Status
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.security import SessionAuth

from syncapp import conf
from syncapp.errors import (
    NoConflict,
    NoQuestion,
    SyncError,
    UnknownLocalUser,
    UnknownPeerUser,
    ValueRefused,
    sentence,
)
from syncapp.models import Link
from syncapp.store import control, texts
from syncapp.store.choices import Answer
from syncapp.store.disputes import (
    ConflictLine,
    QuestionLine,
    conflict_line,
    conflict_lines,
    question_field,
    question_line,
    question_lines,
)
from syncapp.store.entered import entered
from syncapp.store.history import LogLine, ProblemLine, log_lines, problem_lines
from syncapp.store.sql import SqlBackend
from syncapp.store.status import LinkReport, link_statuses, now_us
from syncapp.store.store import Store
from syncapp.store.usermatching import UserLine, match_user, unmatch_user, user_lines
from syncapp.web.access import may_configure, may_view


class StaffSession(SessionAuth):
    """A session of staff who may see links; others are told to log in, or to ask for the permission."""

    def authenticate(self, request: HttpRequest, key: str | None) -> Any | None:
        user = super().authenticate(request, key)
        if user is not None and not may_view(user):
            raise HttpError(403, gettext("You may not see links. Ask an administrator for the permission."))
        return user


class Fault(Schema):
    """What every error looks like; ``field`` names the parameter at fault, if one is."""

    detail: str
    field: str = ""


class Me(Schema):
    """Who is logged in, and where."""

    user: str
    language: str
    title: str
    may_configure: bool


class UserChoice(Schema):
    """``peer_user``: number or login of a user of the other program; ``user``: the login of the one here."""

    peer_user: str
    user: str = ""


class LogPage(Schema):
    """Log lines, newest first; ``next`` is the ``before`` of the following page, or None at the end."""

    entries: list[LogLine]
    next: int | None


class QuestionPage(Schema):
    """Questions, oldest first; ``next`` is the ``after`` of the following page, or None at the end."""

    entries: list[QuestionLine]
    next: int | None


class ConflictPage(Schema):
    """Conflicts, newest first; ``next`` is the ``before`` of the following page, or None at the end."""

    entries: list[ConflictLine]
    next: int | None


class Verdict(Schema):
    """The answer to a question.

    ``value`` counts with ``take = "value"`` only: a text, or what JSON says; null is empty; of relations the keys of
    records here.
    """

    take: Literal["ours", "theirs", "value"]
    value: Any = None


api = NinjaAPI(
    title="syncapp",
    version="1",
    description="State and control of the links of this program.",
    urls_namespace="syncapp:api",
    auth=StaffSession(),
    docs_url=None,
)


# -- reading ------------------------------------------------------------------------------------------------


@api.get("/links", response=list[LinkReport], summary="All links")
def links(request: HttpRequest) -> list[LinkReport]:
    """The state of every link, by name."""
    return visible(link_statuses(now_us()), may_configure(request.user))


@api.get("/links/{link_id}", response={200: LinkReport, 404: Fault}, summary="One link")
def link(request: HttpRequest, link_id: int) -> LinkReport:
    """The state of one link."""
    return _one(request, link_id)


@api.get("/log", response=LogPage, summary="The log")
def log(
    request: HttpRequest,
    link: int | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Log lines of one link or of all, newest first."""
    entries = log_lines(link, limit, before)
    return {"entries": entries, "next": entries[-1].id if len(entries) == limit else None}


@api.get("/problems", response=list[ProblemLine], summary="Problems")
def problems(request: HttpRequest, link: int | None = None) -> list[ProblemLine]:
    """Changes that could not be applied, oldest first."""
    return problem_lines(link)


@api.get("/me", response=Me, summary="Who am I")
def me(request: HttpRequest) -> dict[str, Any]:
    """The user, the language of the answers, this program's title."""
    return {
        "user": request.user.get_username(),
        "language": get_language() or "en",
        "title": conf.current().title,
        "may_configure": may_configure(request.user),
    }


@api.get("/questions", response=QuestionPage, summary="Questions")
def questions(
    request: HttpRequest,
    link: int | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    after: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Fields with one value here and another one there, until somebody decides; oldest first."""
    entries = question_lines(link, limit, after)
    return {"entries": entries, "next": entries[-1].id if len(entries) == limit else None}


@api.get("/questions/{number}", response={200: QuestionLine, 404: Fault}, summary="One question")
def question(request: HttpRequest, number: int) -> QuestionLine:
    """One question with both values."""
    line = question_line(number)
    if line is None:
        raise NoQuestion(number=number)
    return line


@api.get("/conflicts", response=ConflictPage, summary="Conflicts")
def conflicts(
    request: HttpRequest,
    link: int | None = None,
    open_only: bool = False,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
    before: Annotated[int, Query(ge=0)] = 0,
) -> dict[str, Any]:
    """Values that lost, newest first."""
    entries = conflict_lines(link, limit, before, open_only=open_only)
    return {"entries": entries, "next": entries[-1].id if len(entries) == limit else None}


@api.get("/conflicts/{number}", response={200: ConflictLine, 404: Fault}, summary="One conflict")
def conflict(request: HttpRequest, number: int) -> ConflictLine:
    """One conflict with both values."""
    line = conflict_line(number)
    if line is None:
        raise NoConflict(number=number)
    return line


@api.get(
    "/links/{link_id}/users", response={200: list[UserLine], 404: Fault}, summary="Users of the other program"
)
def users(request: HttpRequest, link_id: int) -> list[UserLine]:
    """The users of the other program who came along in values, and who they are here."""
    return user_lines(_link(link_id).pk)


# -- control ------------------------------------------------------------------------------------------------


@api.post(
    "/links/{link_id}/pause", response={200: LinkReport, 403: Fault, 404: Fault}, summary="Pause a link"
)
def pause(request: HttpRequest, link_id: int) -> LinkReport:
    """Stop exchanging over the link; changes are kept."""
    return _set_paused(request, link_id, True)


@api.post(
    "/links/{link_id}/resume", response={200: LinkReport, 403: Fault, 404: Fault}, summary="Resume a link"
)
def resume(request: HttpRequest, link_id: int) -> LinkReport:
    """Exchange over the link again."""
    return _set_paused(request, link_id, False)


@api.post(
    "/links/{link_id}/users/match",
    response={200: list[UserLine], 403: Fault, 404: Fault, 422: Fault},
    summary="Match a user by hand",
)
def match(request: HttpRequest, link_id: int, choice: UserChoice) -> list[UserLine]:
    """From now on this user of the other program is that one here; an empty ``user`` forgets it again."""
    _require_configure(request)
    chosen = _link(link_id)
    if choice.user:
        match_user(chosen, choice.peer_user, choice.user)
    else:
        unmatch_user(chosen, choice.peer_user)
    return user_lines(link_id)


def _require_configure(request: HttpRequest) -> None:
    if not may_configure(request.user):
        raise HttpError(403, gettext("You may not change links. Ask an administrator for the permission."))


def _link(link_id: int) -> Link:
    try:
        return Link.objects.get(pk=link_id)
    except Link.DoesNotExist:
        raise HttpError(404, gettext("There is no such link (any more).")) from None


def _set_paused(request: HttpRequest, link_id: int, paused: bool) -> LinkReport:
    _require_configure(request)
    control.set_paused(link_id, paused)
    return _one(request, link_id)


# -- decisions ----------------------------------------------------------------------------------------------

_DECIDED: Any = {200: ConflictLine, 403: Fault, 404: Fault, 409: Fault}


@api.post("/conflicts/{number}/restore", response=_DECIDED, summary="Put the losing value back")
def restore(request: HttpRequest, number: int) -> ConflictLine:
    """Write the value that lost, as a new edit that reaches all programs."""
    _require_deciding(request)
    Store(SqlBackend()).restore(number)
    return conflict(request, number)


@api.post("/conflicts/{number}/keep", response=_DECIDED, summary="Settle with the winning value")
def keep(request: HttpRequest, number: int) -> ConflictLine:
    """Leave the value that won; where the loser was restored, take it back."""
    _require_deciding(request)
    Store(SqlBackend()).keep(number)
    return conflict(request, number)


@api.post(
    "/questions/{number}/decide",
    response={204: None, 403: Fault, 404: Fault, 409: Fault, 422: Fault},
    summary="Decide a question",
)
def decide(request: HttpRequest, number: int, answer: Verdict) -> Status[None]:
    """Take our value, theirs, or another one; the decision reaches all programs."""
    _require_deciding(request)
    said = Answer(answer.take)
    if answer.take == "value":
        table, field = question_field(number)
        said = Answer("value", entered(table, field, answer.value))
    Store(SqlBackend()).answer(number, said)
    return Status(204, None)


def _require_deciding(request: HttpRequest) -> None:
    if not may_configure(request.user):
        raise HttpError(
            403, gettext("You may not decide conflicts. Ask an administrator for the permission.")
        )


def _one(request: HttpRequest, link_id: int) -> LinkReport:
    for status in visible(link_statuses(now_us()), may_configure(request.user)):
        if status.id == link_id:
            return status
    raise HttpError(404, gettext("There is no such link (any more)."))


def visible(statuses: list[LinkReport], configures: bool) -> list[LinkReport]:
    """``statuses`` without what only those who configure may see."""
    return statuses if configures else [replace(status, code="") for status in statuses]


# -- errors -------------------------------------------------------------------------------------------------


def _fault(request: HttpRequest, status: int, detail: str, field: str = "") -> HttpResponse:
    return api.create_response(request, {"detail": detail, "field": field}, status=status)


@api.exception_handler(AuthenticationError)
def _not_logged_in(request: HttpRequest, error: AuthenticationError) -> HttpResponse:
    return _fault(request, 401, gettext("Log in first."))


@api.exception_handler(HttpError)
def _refused(request: HttpRequest, error: HttpError) -> HttpResponse:
    return _fault(request, error.status_code, str(error))


#: Error → the parameter that is at fault.
_AT_FAULT: dict[type[SyncError], str] = {
    ValueRefused: "value",
    UnknownPeerUser: "peer_user",
    UnknownLocalUser: "user",
}


@api.exception_handler(SyncError)
def _not_done(request: HttpRequest, error: SyncError) -> HttpResponse:
    """What a decision came to: it is not there (any more), or cannot be carried out as things stand."""
    field = _AT_FAULT.get(type(error), "")
    status = 404 if isinstance(error, NoQuestion | NoConflict) else 422 if field else 409
    return _fault(request, status, texts.inert(sentence(error.code, error.params, gettext)), field)


@api.exception_handler(Http404)
def _not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _fault(request, 404, gettext("There is no such link (any more)."))


@api.exception_handler(ValidationError)
def _invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    first = error.errors[0]
    return _fault(request, 422, str(first.get("msg", "")), str(first.get("loc", ("",))[-1]))
