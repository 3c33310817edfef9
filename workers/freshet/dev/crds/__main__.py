"""`python -m freshet.dev.crds`: writes the CRDs into the working tree that is the current folder."""

from __future__ import annotations

from pathlib import Path

from freshet.dev.crds.files import crd_files


def main() -> None:
    """Write every file anew; nothing else in their folders is touched."""
    for name, text in crd_files().items():
        file = Path(name)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(f"{name}: {len(text) // 1024} KiB")


if __name__ == "__main__":
    main()
