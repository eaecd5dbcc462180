"""Known advisories against the installed packages: by pip-audit where it can reach its data, else by a list kept here.

Run as `python -m tests.harden.audit`. The list holds what was known when it was last edited, so without pip-audit's
data the verdict says no more than that none of those is back.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import distributions
from typing import Any

from packaging.version import Version

from tests.harden.verdict import summarise

# Package: the first release without the advisory, and its name.
FIXED_IN = {
    "certifi": ("2024.7.4", "CVE-2024-39689"),
    "gradio": ("5.31.0", "CVE-2025-48889"),
    "h11": ("0.16.0", "CVE-2025-43859"),
    "idna": ("3.7", "CVE-2024-3651"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "lxml": ("4.9.1", "CVE-2022-2309"),
    "nltk": ("3.9", "CVE-2024-39705"),
    "pillow": ("11.3.0", "CVE-2025-48379"),
    "pyarrow": ("14.0.1", "CVE-2023-47248"),
    "pypdf": ("6.0.0", "CVE-2025-55197"),
    "python-multipart": ("0.0.18", "CVE-2024-53981"),
    "pyyaml": ("5.4", "CVE-2020-14343"),
    "requests": ("2.32.4", "CVE-2024-47081"),
    "setuptools": ("78.1.1", "CVE-2025-47273"),
    "starlette": ("0.49.1", "CVE-2025-62727"),
    "torch": ("2.6.0", "CVE-2025-32434"),
    "tqdm": ("4.66.3", "CVE-2024-34062"),
    "urllib3": ("2.6.0", "CVE-2025-66418"),
}


def main() -> int:
    installed = {
        each.metadata["Name"].lower().replace("_", "-"): each.version for each in distributions() if each.metadata
    }
    old = [
        f"{name} {installed[name]} has {advisory}: take {fixed} or newer"
        for name, (fixed, advisory) in FIXED_IN.items()
        if name in installed and Version(installed[name]) < Version(fixed)
    ]
    audited, found = by_pip_audit()
    figures: dict[str, Any] = {
        "installed": len(installed),
        "checked_by_pip_audit": audited,
        "checked_by_the_list": sum(name in installed for name in FIXED_IN),
    }
    return summarise("audit", figures, old + found)


def by_pip_audit() -> tuple[int, list[str]]:
    """How many installed packages pip-audit had data on, and what it found."""
    command = [sys.executable, "-m", "pip_audit", "--local", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):  # it is not installed, or cannot reach its data
        return 0, []
    known = [package for package in packages if "vulns" in package]
    return len(known), [f"{package['name']} {package['version']} has {vuln['id']}: {vuln['fix_versions']}"
                        for package in known for vuln in package["vulns"]]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
