"""Hostile calls of every endpoint of the page, drawn from what the page says of itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st

# Stands in every text that is sent. Nothing of a visitor's may ever be in the page's output, so this may not.
MARKER = "Zanzibar48213"
API = "/gradio_api"

Draw = st.SearchStrategy[Any]


@dataclass(frozen=True)
class Call:
    """One request."""

    method: str
    path: str
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


TEXTS = st.one_of(
    st.text(max_size=20).map(lambda text: MARKER + text),
    st.sampled_from([
        "", " ", MARKER, f"{MARKER}\x00", f"{MARKER}\ud800", f"\udfff{MARKER}", f"../../{MARKER}", f"/etc/{MARKER}",
        f"<script>{MARKER}</script>", f"{MARKER}\r\nX: y", "NaN", "4:25%", "4:" + "9" * 500, "1:1," * 300_000,
        f"{MARKER} " * 3000, f"{{{MARKER}}}", f"%s%n{MARKER}", "__init__", "__class__", "null",
    ]),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-3, 3), st.integers(), st.floats(), st.sampled_from([10**400, -(10**30), 2**63, 1e308, 1e-320, 5e-324]),
    st.booleans(),
)  # fmt: skip
FILES = st.builds(
    lambda path, kind: {"path": path, "url": f"file:///{MARKER}", "meta": {"_type": kind}, "orig_name": MARKER},
    st.one_of(TEXTS, st.sampled_from(["/etc/passwd", f"/tmp/gradio/{MARKER}", "/proc/self/environ", "/tmp", ""])),
    st.sampled_from(["gradio.FileData", "x", None, 1]),
)
ODD = st.recursive(
    st.one_of(st.none(), TEXTS, NUMBERS, FILES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)


def written(value: Any) -> bytes:
    """JSON as a careless or hostile client writes it: with NaN, and with surrogates that stand alone."""
    return json.dumps(value, default=str).encode()


def calls(config: dict[str, Any], info: dict[str, Any]) -> Draw:
    """Calls of a page with that `/config` and `/info`."""
    events = [event["id"] for event in config["dependencies"]]
    values = {part["id"]: part["props"].get("value") for part in config["components"]}
    named = {name.lstrip("/"): endpoint["parameters"] for name, endpoint in info["named_endpoints"].items()}
    private = sorted({event["api_name"] for event in config["dependencies"] if event["api_name"]})
    return st.one_of(
        _named(named), _events(config, values), _direct([*named, *private]), _component_server(config), _gets(events),
        _raw(), _uploads(),
    )  # fmt: skip


def _post(path: Draw, body: Draw, kinds: Draw | None = None) -> Draw:
    kinds = st.just("application/json") if kinds is None else kinds
    return st.builds(
        lambda path, content, kind: Call("POST", path, content, {"content-type": kind}), path, body.map(written), kinds
    )


def _named(endpoints: dict[str, list[dict[str, Any]]]) -> Draw:
    """Calls of the documented endpoints: some arguments as they should be, some odd, some missing or too many."""

    def asked(item: tuple[str, list[dict[str, Any]]]) -> Draw:
        name, parameters = item
        fitting = {"document": "A lamp. " * 30, "question": "What?", "passage": "A lamp", "tokens": 64, "file": None}
        arguments = {
            p["parameter_name"]: st.one_of(
                st.just(p.get("parameter_default", fitting.get(p["parameter_name"]))),
                st.just(fitting.get(p["parameter_name"], p.get("parameter_default"))),
                ODD if p["python_type"]["type"] == "str" else st.one_of(NUMBERS, ODD),
            )
            for p in parameters
        }
        as_object = st.fixed_dictionaries({}, optional=arguments | {"session_hash": ODD, MARKER: ODD})
        as_list = st.fixed_dictionaries(arguments).map(lambda given: {"data": list(given.values())})
        short = st.fixed_dictionaries({"data": ODD | st.lists(ODD, max_size=20)}, optional={"session_hash": ODD})
        return st.one_of(
            _post(st.just(f"{API}/call/v2/{name}"), as_object | ODD),
            _post(st.just(f"{API}/call/{name}"), as_list | short | ODD),
        )

    return st.sampled_from(list(endpoints.items())).flatmap(asked)


def _events(config: dict[str, Any], values: dict[int, Any]) -> Draw:
    """The page's own events, with the page's values, some of them odd."""

    def asked(event: dict[str, Any]) -> Draw:
        data = st.tuples(*(st.one_of(st.just(values.get(part)), ODD) for part in event["inputs"])).map(list)
        body = st.fixed_dictionaries(
            {"data": data | ODD, "fn_index": st.just(event["id"]) | NUMBERS},
            optional={
                "session_hash": st.sampled_from(["a1", "b2"]) | ODD, "event_data": ODD, "trigger_id": NUMBERS | ODD,
                "event_id": ODD, "simple_format": ODD, "batched": ODD, "request": ODD, MARKER: ODD,
            },
        )  # fmt: skip
        path = st.sampled_from([f"{API}/queue/join", f"{API}/run/predict", f"{API}/api/{event['api_name']}"])
        return _post(path, body)

    return st.sampled_from(config["dependencies"]).flatmap(asked)


def _direct(names: list[str]) -> Draw:
    name = st.sampled_from(names) | st.sampled_from(["predict", MARKER, "..%2f..", "%00"])
    kind = st.sampled_from(["run", "api", "call", "call/v2"])
    path = st.builds(lambda kind, name: f"{API}/{kind}/{name}", kind, name)
    return _post(path, st.fixed_dictionaries({"data": st.lists(ODD, max_size=4) | ODD}) | ODD)


def _component_server(config: dict[str, Any]) -> Draw:
    parts = [part["id"] for part in config["components"]]
    body = st.fixed_dictionaries(
        {
            "component_id": st.sampled_from(parts) | ODD,
            "fn_name": st.sampled_from(["kept_panel", "kept_cell", "preprocess", "__init__"]) | ODD,
            "session_hash": st.just("a1") | ODD,
            "data": st.fixed_dictionaries(
                {"key": ODD},
                optional=dict.fromkeys(("width", "start", "end", "layer", "position"), NUMBERS | ODD),
            ) | ODD,
        }
    )  # fmt: skip
    return _post(st.just(f"{API}/component_server"), body | ODD)


def _gets(events: list[int]) -> Draw:
    paths = [
        "/", "/config", "/health", "/theme.css", "/robots.txt", "/manifest.json", "/pwa_icon", "/favicon.ico",
        "/static/{}", "/assets/{}", "/svelte/{}", "/monitoring", "/monitoring/{}", "/monitoring/summary", "/logout",
        "/openapi.json", "/docs", "/redoc", "/{}", "/?{}={}", "/?prune={}&model={}", "/?seed={}",
        *(f"{API}/{rest}" for rest in (
            "info", "info?page={}", "config", "app_id", "user", "login_check", "token", "startup-events",
            "heartbeat/{}", "queue/status", "queue/data?session_hash={}", "call/compare/{}", "call/v2/{}/{}",
            "file={}", "file/{}",
            "file=/etc/passwd", "file=http://{}", "file=/proc/self/environ", "proxy={}", "proxy=http://127.0.0.1:1/{}",
            "custom_component/{}/server/component/{}", "custom_component/x/client/component/../../{}", "theme.css",
            "stream/{}/1/2/playlist.m3u8", "stream/{}/1/2/{}.ts", "upload_progress?upload_id={}", "deep_link?{}={}",
            "runs", "openapi.json", "dev/reload", "vibe-code", "{}", "mcp/{}", "profiling/traces",
        )),
    ]  # fmt: skip
    segment = st.sampled_from([MARKER, f"..%2f{MARKER}", f"%00{MARKER}", f"%ff{MARKER}", "1", "-1", "nan", "a" * 4000])
    filled = st.tuples(st.sampled_from(paths), segment, segment).map(lambda drawn: _filled(*drawn))
    methods = st.sampled_from(["GET", "GET", "GET", "HEAD", "OPTIONS", "DELETE", "PUT", "PATCH"])
    headers = st.fixed_dictionaries(
        {}, optional={
            "range": st.sampled_from(["bytes=0-", "bytes=-1", MARKER]), "origin": st.just(f"http://{MARKER}.example"),
            "accept-language": st.just(MARKER), "cookie": st.just(f"{MARKER}={MARKER}"), "referer": st.just(MARKER),
        },
    )  # fmt: skip
    return st.builds(lambda method, path, headers: Call(method, path, b"", headers), methods, filled, headers)


def _filled(path: str, first: str, second: str) -> str:
    return path.replace("{}", first, 1).replace("{}", second, 1)


def _raw() -> Draw:
    """Bodies that are no JSON, or are no object, on every path that takes one."""
    paths = st.sampled_from([
        f"{API}/{rest}" for rest in (
            "queue/join", "run/predict", "api/run", "call/compare", "call/v2/compare", "call/models",
            "component_server", "cancel", "reset", "upload", "stream/x", "stream/x/close",
            "process_recording", "vibe-edit", "vibe-code",
            "undo-vibe-edit", "vibe-starter-queries", "run-history/connect", "login", MARKER,
        )
    ])  # fmt: skip
    mark = MARKER.encode()
    bodies = st.sampled_from([
        b"", mark, b"{", b'{"data": ' + b"[" * 50_000, b"[" * 100_000 + b"]" * 100_000, b"\xff\xfe" + mark, b"null",
        b'{"data": [NaN, Infinity], "x": "' + mark + b'"}', b'{"data": ["\\ud800' + mark + b'"]}', b'"' + mark + b'"',
        b'{"session_hash": {"' + mark + b'": 1}}', b'{"data":1e999}', b'{"fn_index": 1e400, "data": []}', b"7", b"[]",
    ])  # fmt: skip
    kinds = st.sampled_from([
        "application/json", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data", MARKER,
        "multipart/form-data; boundary=x", "application/json; charset=utf-7", "application/octet-stream",
    ])  # fmt: skip
    names = ("session_hash", "fn_index", "event_id", "data", "component_id", "fn_name", "prompt", MARKER)
    objects = st.fixed_dictionaries({}, optional=dict.fromkeys(names, ODD)).map(written)
    return st.builds(
        lambda path, content, kind: Call("POST", path, content, {"content-type": kind}), paths, bodies | objects, kinds
    )


def _uploads() -> Draw:
    """Multipart bodies, whole and broken."""
    names = st.sampled_from([MARKER, f"../../{MARKER}", f"{MARKER}.pdf", "", "a" * 300, f"{MARKER}\\x00.txt", "CON"])
    fields = st.sampled_from(["files", "file", MARKER, ""])
    contents = st.sampled_from([b"", MARKER.encode(), b"%PDF-1.4\n" + MARKER.encode(), b"x" * 5000])
    counts = st.sampled_from([0, 1, 2, 40])
    ends = st.sampled_from([b"--x--\r\n", b"", b"--x\r\n", b"--x--"])
    paths = st.sampled_from([f"{API}/upload", f"{API}/upload?upload_id={MARKER}", f"{API}/component_server"])

    def made(path: str, name: str, part: str, content: bytes, count: int, end: bytes) -> Call:
        head = f'--x\r\nContent-Disposition: form-data; name="{part}"; filename="{name}"\r\n\r\n'.encode()
        return Call(
            "POST", path, (head + content + b"\r\n") * count + end, {"content-type": "multipart/form-data; boundary=x"}
        )

    return st.builds(made, paths, names, fields, contents, counts, ends)
