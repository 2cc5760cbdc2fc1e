"""How a client comes to a token: `clientkey`, for Bacalhau's own command line."""

from bacalhau.api.reply import Reply
from bacalhau.api.request import Request
from bacalhau.auth.guard import Guard
from bacalhau.core.bind import bind
from bacalhau.model.base import Record
from bacalhau.model.errors import NotFound
from bacalhau.ports.cluster import Cluster


class SigninBody(Record, kw_only=True):
    name: str = ""
    method_data: str = ""


class Signin:
    """The handlers below `/auth`; they need the guard besides the cluster."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def methods(self, cluster: Cluster, request: Request) -> Reply:
        return Reply(body={"NextToken": "", "Methods": self._guard.challenges})

    async def method(self, cluster: Cluster, request: Request) -> Reply:
        return Reply(body=self._find(request))

    async def answer(self, cluster: Cluster, request: Request) -> Reply:
        self._find(request)
        given = await request.json()
        body = bind(SigninBody, {} if given is None else given)
        token = self._guard.answer(body.method_data, request.caller)
        if token:
            return Reply(body={"Authentication": {"success": True, "token": token}})
        refusal = {"success": False, "reason": "the signature is not valid"}
        return Reply(status=401, body={"Authentication": refusal})

    def _find(self, request: Request) -> dict[str, object]:
        name = request.values["method"]
        found = self._guard.challenges.get(name.lower())
        if found is None:
            raise NotFound(f"authentication method not found: {name}", hint="see GET /api/v1/auth")
        return found
