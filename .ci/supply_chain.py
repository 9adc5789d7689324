"""Licences of what is installed, and known holes in it where an advisory service can be asked.

Exit code 1: a licence that is not permissive, or a known hole. What cannot be asked is said, and is no failure.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata

PERMISSIVE = re.compile(
    r"\b(apache|(free)?bsd|mit|isc|psf|python software foundation|mpl|mozilla|unlicense|zlib|hpnd|0bsd|cc0)\b",
    re.IGNORECASE,
)
RESTRICTIVE = re.compile(r"\b(a?gpl|affero|sspl|busl|cc[- ]by[- ]nc)", re.IGNORECASE)
KNOWN = re.compile(r"^(nvidia|cuda|tensorrt|triton|intel|tcmlib|umf|mkl|onemkl)", re.IGNORECASE)
"""Vendors' libraries under terms of their own, which users install by name."""


def licence(distribution: metadata.Distribution) -> str:
    """A distribution's licence in its own words, from the newest field that it has."""
    about = distribution.metadata
    classifiers = [each.rpartition("::")[2].strip() for each in about.get_all("Classifier", []) if "License" in each]
    return about.get("License-Expression") or " / ".join(classifiers) or (about.get("License") or "").split("\n")[0]


def refused_licences() -> list[str]:
    """Distributions whose licence is restrictive, or says nothing that is known to be permissive."""
    refused = []
    for distribution in metadata.distributions():
        name, text = distribution.metadata["Name"], licence(distribution)
        lesser = re.search(r"\blgpl|lesser", text, re.IGNORECASE)
        if KNOWN.match(name) or PERMISSIVE.search(text) or lesser:
            continue
        refused.append(f"{name}: {text or 'no licence in its metadata'}" + ("" if RESTRICTIVE.search(text) else " (?)"))
    return sorted(set(refused))


def advisories() -> tuple[list[str], str]:
    """Known holes by pip-audit; and why it could not be asked, empty where it could."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return [], (done.stderr.strip().splitlines() or ["pip-audit gave nothing"])[-1]
    asked = [package for package in packages if "vulns" in package and not package.get("skip_reason")]
    if not asked:
        return [], "pip-audit could look up no package"
    return [f"{each['name']} {each['version']}: {hole['id']}" for each in asked for hole in each["vulns"]], ""


def main() -> int:
    """Prints what was found and returns the exit code."""
    licences = refused_licences()
    holes, why_not = advisories()
    unclear = [line for line in licences if line.endswith("(?)")]
    for line in licences:
        print(f"licence: {line}")
    for line in holes:
        print(f"advisory: {line}")
    print(f"advisories: {'not asked, ' + why_not if why_not else 'asked'}; licences: {len(unclear)} to be read by hand")
    return int(len(licences) > len(unclear) or bool(holes))


if __name__ == "__main__":
    sys.exit(main())
