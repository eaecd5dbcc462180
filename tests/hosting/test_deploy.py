"""Deploying: the plan lists everything, nothing is sent without being asked for, and no secret is ever shown."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from sliminfer import cli
from sliminfer.errors import ConfigError
from sliminfer.hosting.deploy import DeployError, plan_deployment
from sliminfer.hosting.spacefile import SPACEFILE, Spacefile

ROOT = SPACEFILE.parent
TOKEN = "hf_" + "s3cret" * 5
ENVIRONMENT = {"SPACE_SECRET_HF_TOKEN": TOKEN}


class RecordingHub:
    """Stands in for the Hub, which tests must not call: notes every call and can refuse one."""

    def __init__(self, refuse: str = "") -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.refuse = refuse

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((name, args, kwargs))
            if name == self.refuse:
                raise RuntimeError(f"refused with {TOKEN}")
            return ["README.md", "old.py", ".gitattributes"] if name == "list_repo_files" else None

        return call

    def named(self, name: str) -> list[tuple[Any, ...]]:
        return [args for called, args, _ in self.calls if called == name]


def test_the_plan_holds_what_the_page_needs_and_no_more(spacefile: Spacefile) -> None:
    plan = plan_deployment(spacefile, "zerogpu", "me/studio", ROOT, {})
    assert {"app.py", "Spacefile", "README.md", "requirements.txt", "assets/demo_model/config.json"} <= set(plan.files)
    assert any(name.endswith(".safetensors") for name in plan.files)
    assert not [name for name in plan.files if name.startswith(("tests/", "benchmarks/", ".git/", ".venv", "runs/"))]
    requirements = plan.files["requirements.txt"]
    assert isinstance(requirements, bytes)
    assert b"torch==2.11.0" in requirements
    assert plan.variables["SLIMINFER_PROFILE"] == "zerogpu"
    assert plan.missing == ("HF_TOKEN",)


def test_publishing_sends_the_plan_and_removes_what_is_no_longer_there(spacefile: Spacefile) -> None:
    hub = RecordingHub()
    plan = plan_deployment(spacefile, "a10g", "me/studio", ROOT, ENVIRONMENT)
    assert plan.publish(hub, ENVIRONMENT) == "https://huggingface.co/spaces/me/studio"  # type: ignore[arg-type]
    ((repo, operations),) = hub.named("create_commit")
    assert repo == "me/studio"
    deleted = {op.path_in_repo for op in operations if type(op).__name__ == "CommitOperationDelete"}
    added = {op.path_in_repo for op in operations if type(op).__name__ == "CommitOperationAdd"}
    assert deleted == {"old.py"}
    assert added == set(plan.files)
    assert hub.named("add_space_secret") == [("me/studio", "HF_TOKEN", TOKEN)]
    assert hub.named("request_space_hardware") == [("me/studio", "a10g-small")]


def test_the_deployers_own_token_does_not_become_the_spaces(spacefile: Spacefile) -> None:
    plan = plan_deployment(spacefile, "a10g", "me/studio", ROOT, {"HF_TOKEN": TOKEN})
    assert plan.secrets == ()
    assert plan.missing == ("HF_TOKEN",)


def test_no_secret_is_shown_in_the_plan_or_in_a_refusal(spacefile: Spacefile) -> None:
    plan = plan_deployment(spacefile, "a100", "me/studio", ROOT, ENVIRONMENT)
    assert TOKEN not in "\n".join(plan.lines())
    assert TOKEN not in repr(plan)
    with pytest.raises(DeployError) as caught:
        plan.publish(RecordingHub(refuse="create_commit"), ENVIRONMENT)  # type: ignore[arg-type]
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("profile", "repo", "words"),
    [
        ("h200", "me/studio", "lends no hardware"),
        ("tpu", "me/studio", "no profile"),
        ("cpu", "studio", "OWNER/NAME"),
        ("cpu", "me/studio/../x", "OWNER/NAME"),
    ],
)
def test_a_deployment_that_cannot_be_is_refused(spacefile: Spacefile, profile: str, repo: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        plan_deployment(spacefile, profile, repo, ROOT, {})


def test_the_command_is_dry_unless_told_and_never_prints_the_token(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SPACE_SECRET_HF_TOKEN", TOKEN)
    monkeypatch.setattr(sys, "argv", ["sliminfer", "space", "deploy", "me/studio", "--profile", "a10g"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == 0
    assert "Nothing was sent" in shown.out
    assert "secret HF_TOKEN (from SPACE_SECRET_HF_TOKEN)" in shown.out
    assert TOKEN not in shown.out + shown.err


def test_a_mistake_ends_with_code_2_and_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["sliminfer", "space", "deploy", "studio"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    shown = capsys.readouterr()
    assert ended.value.code == 2
    assert shown.err.count("\n") == 1
    assert "OWNER/NAME" in shown.err
