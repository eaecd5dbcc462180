"""A browser without a browser: sets a component and does what the page's wiring then asks for, over plain HTTP."""

from __future__ import annotations

from typing import Any

from tests.page.visit import Visit


class Driver(Visit):
    """A visit that follows up each update with the events that it triggers."""

    def give(self, name: str, value: Any, *triggers: str) -> None:
        """A visitor sets the component `name` to `value`, which triggers `change` and `triggers`."""
        part = self.part(name)
        self._set(part, value, triggers)

    def press(self, name: str, trigger: str = "click") -> None:
        """A visitor presses the component `name`."""
        self._fire(self.part(name), trigger)

    def shown(self, name: str) -> Any:
        """The value of the component `name`."""
        return self.values[self.part(name)]

    def noted(self) -> dict[int, str]:
        """What the lines about older results say, by component."""
        parts = self.config["components"]
        notes = [part["id"] for part in parts if "note" in (part["props"].get("elem_classes") or ())]
        return {part: self.values[part] or "" for part in notes}

    def _set(self, part: int, value: Any, triggers: tuple[str, ...]) -> None:
        changed, self.values[part] = self.values[part] != value, value
        for trigger in (*triggers, *(("change",) if changed else ())):
            self._fire(part, trigger)

    def _fire(self, part: int, trigger: str) -> None:
        for event in self.config["dependencies"]:
            if [part, trigger] in [list(target) for target in event["targets"]]:
                self._do(dict(event))

    def _do(self, event: dict[str, Any]) -> None:
        if not event["backend_fn"]:  # what the browser does by itself changes the status line or the question only
            return
        updates = self._queued(event) if event["queue"] else self._at_once(event)
        changed = []
        for part, update in zip(event["outputs"], updates, strict=False):
            said = isinstance(update, dict) and update.get("__type__") == "update"
            if said and "value" not in update:
                continue
            value = update["value"] if said else update
            if self.values[part] != value and not isinstance(value, list):
                changed.append(part)
            self.values[part] = value
        for follower in self.config["dependencies"]:
            if follower["trigger_after"] == event["id"] and not follower.get("trigger_only_on_failure"):
                self._do(dict(follower))
        for part in changed:
            self._fire(part, "change")

    def _at_once(self, event: dict[str, Any]) -> list[Any]:
        answer = self.http.post(f"{self.url}gradio_api/run/predict", json=self.body(event))
        assert answer.status_code == 200, (event["api_name"], answer.text)
        return list(answer.json()["data"])

    def _queued(self, event: dict[str, Any]) -> list[Any]:
        joined = self.join(event).json()["event_id"]
        for message in self.stream():
            if message.get("event_id") == joined and message["msg"] == "process_completed":
                assert message["success"], (event["api_name"], message)
                return list(message["output"].get("data") or [])
        raise AssertionError(f"{event['api_name']} did not end")

    def upload(self, name: str, content: bytes, to: str = "upload") -> None:
        """A visitor gives a file to the component `to`."""
        sent = self.http.post(f"{self.url}gradio_api/upload", files={"files": (name, content)})
        path = sent.json()[0]
        file = {"path": path, "orig_name": name, "size": len(content), "meta": {"_type": "gradio.FileData"}}
        self.give(to, file, "upload")
