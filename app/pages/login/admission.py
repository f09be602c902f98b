"""Admission of a form's sender before the form is read."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from app.domain.errors import ForbiddenError, NotFoundError
from app.domain.identity.access import Caller
from app.domain.naming import PrefixName
from app.http.deps import Parts
from app.pages.login.session_cookies import visit_of


class SessionRoute(APIRoute):
    """A route of signed-in visitors; FastAPI alone reads a form before any dependency runs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def admit(request: Request) -> Response:
            if request.method == "POST":
                await run_in_threadpool(self.admit, request)
            return await handle(request)

        return admit

    def admit(self, request: Request) -> None:
        """Raise UnauthenticatedError for a request without a session."""
        self.caller_of(request)

    def caller_of(self, request: Request) -> Caller:
        parts: Parts = request.app.state.parts
        return visit_of(request, parts.sessions, parts.issuers).caller


class WorkRoute(SessionRoute):
    """A route of visitors with a working role, on the prefix if the path names one."""

    def admit(self, request: Request) -> None:
        """Raise NotFoundError too, as the use case does for callers who may know of nothing."""
        caller, named = self.caller_of(request), request.path_params
        if "namespace" in named:
            caller.require_visible(PrefixName(named["namespace"], named["name"]))
            return
        try:
            caller.require_working_role()
        except ForbiddenError as error:
            raise NotFoundError("There is nothing here that your grants cover.") from error
