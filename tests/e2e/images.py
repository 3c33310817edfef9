"""Builds the two images with docker and brings them to the cluster: `python -m tests.e2e.images`.

BASE_IMAGE replaces the Dockerfiles' base; E2E_LOAD_IMAGE is the command that loads images, for example
`kind load docker-image`; their names are added to it.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[2]
IMAGES = {"freshet/workers": "workers/Dockerfile", "freshet/operator": "operator/Dockerfile"}
DEVELOPMENT = "dev"
"""The tag that values-dev.yaml asks for."""


def build() -> None:
    """Builds both as `:dev`. Raises CalledProcessError."""
    base = os.environ.get("BASE_IMAGE")
    arguments = ["--build-arg", f"BASE_IMAGE={base}"] if base else []
    for name, dockerfile in IMAGES.items():
        command = ["docker", "build", "--quiet", "--network", "host", *arguments]
        subprocess.run([*command, "-f", dockerfile, "-t", f"{name}:{DEVELOPMENT}", "."], cwd=ROOT, check=True)


def own_tag() -> str:
    """Tags what was built with a digest of both, so that nodes can never run an older image, and returns that."""
    ids = [_output("docker", "image", "inspect", "--format", "{{.Id}}", f"{name}:{DEVELOPMENT}") for name in IMAGES]
    tag = "e2e-" + hashlib.sha256("".join(ids).encode()).hexdigest()[:12]
    copy(DEVELOPMENT, tag)
    return tag


def copy(tag: str, to: str) -> None:
    """Gives both images another tag."""
    for name in IMAGES:
        subprocess.run(["docker", "tag", f"{name}:{tag}", f"{name}:{to}"], check=True)


def load(command: str, tags: Iterable[str]) -> None:
    """Brings both images with these tags to the nodes. Raises CalledProcessError."""
    names = [f"{name}:{tag}" for tag in tags for name in IMAGES]
    subprocess.run([*shlex.split(command), *names], check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    build()
    if "E2E_LOAD_IMAGE" not in os.environ:
        sys.exit("built, not loaded: E2E_LOAD_IMAGE is not set; for kind: E2E_LOAD_IMAGE='kind load docker-image'")
    load(os.environ["E2E_LOAD_IMAGE"], [DEVELOPMENT])
