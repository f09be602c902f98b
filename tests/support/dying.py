"""A server that exits where a request says so, and restarts; tests run it as a program."""

import os

import uvicorn
from starlette.middleware import Middleware

from app.main import create_app
from app.server import listening_socket, url_of
from app.settings import settings_from_environment

DEATH = 77


class Dying:
    """Exits before the first byte of a response, if the request's header `X-Die` is `moment`."""

    def __init__(self, app, moment):
        self.app = app
        self.moment = moment

    async def __call__(self, scope, receive, send):
        async def dying(message):
            if (b"x-die", self.moment) in scope["headers"]:
                os._exit(DEATH)
            await send(message)

        await self.app(scope, receive, dying)


def serve(bound):
    app = create_app(settings_from_environment())
    app.user_middleware.append(Middleware(Dying, b"before-commit"))
    config = uvicorn.Config(
        Dying(app, b"after-commit"), log_level="critical", access_log=False, lifespan="off"
    )
    uvicorn.Server(config).run(sockets=[bound])


def main():
    with listening_socket("127.0.0.1", 0) as bound:
        bound.listen(16)
        print(url_of(bound), flush=True)  # noqa: T201 - the test reads it
        while True:
            child = os.fork()
            if child == 0:
                serve(bound)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if os.waitstatus_to_exitcode(status) != DEATH:
                return


if __name__ == "__main__":
    main()
