"""Which routes are open: those that the page and its programs use, and none of the rest that comes with Gradio."""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from viz.door.gate import refusal

API = "/gradio_api"
LONGEST_NAME = 255 + len("file=")  # bytes: what a file system takes

# Left out on purpose: proxies (`proxy=`, `file=http...`), links to stored sessions, recordings, editing of the app,
# components and streams that the page has not, run histories, monitoring, sign-in, and the app's inner OpenAPI schema;
# that of the documented endpoints is at /gradio_api/openapi.json.
_READ = re.compile(
    r"/|/config/?|/health|/theme\.css|/favicon\.ico|/robots\.txt|/manifest\.json|/(?:static|assets)/.+"
    rf"|{API}/(?:info|openapi\.json|app_id|startup-events|theme\.css|queue/status|queue/data|upload_progress)/?"
    rf"|{API}/call/(?:v2/)?[^/]+/[^/]+/?|{API}/heartbeat/[^/]+|{API}/file=(?![A-Za-z][A-Za-z0-9+.-]+:).+",
    re.DOTALL,
)
_WRITE = re.compile(
    rf"{API}/(?:queue/join|cancel|reset|upload|component_server)/?|{API}/run/[^/]+/?|{API}/call/(?:v2/)?[^/]+/?"
)
_MCP = re.compile(rf"{API}/mcp(?:/.*)?")


class OpenRoutes:
    """Answers 404 for any route that is not open, and 405 for a method that an open one does not have."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_open(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
        elif any(is_open(method, scope["path"]) for method in ("GET", "POST")):
            await refusal(405, "This address takes no such request: see /gradio_api/info.")(scope, receive, send)
        else:
            await refusal(404, "There is nothing here: see /gradio_api/info.")(scope, receive, send)


def is_open(method: str, path: str) -> bool:
    """Whether requests of `path` by `method` are let through."""
    if max(len(part.encode("utf-8", "replace")) for part in path.split("/")) > LONGEST_NAME:
        return False
    if _MCP.fullmatch(path):
        return method in ("GET", "POST", "DELETE", "HEAD")
    if method in ("GET", "HEAD"):
        return _READ.fullmatch(path) is not None
    return method == "POST" and _WRITE.fullmatch(path) is not None
