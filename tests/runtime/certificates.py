"""Certificates for the TLS tests, made by the openssl binary: an authority, and what it signs."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Authority:
    """One certificate authority in a folder of its own."""

    folder: Path

    @property
    def certificate(self) -> Path:
        """The authority's own certificate."""
        return self.folder / "authority.pem"

    def sign(self, name: str, *others: str) -> tuple[Path, Path]:
        """Make a key and a certificate for these DNS names (and 127.0.0.1); gives certificate, key."""
        key, request, certificate, extensions = (
            self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem", "ext")
        )
        _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={name}")
        names = ",".join(f"DNS:{one}" for one in (name, *others))
        extensions.write_text(f"subjectAltName={names},IP:127.0.0.1\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self.folder / "authority.key",
            "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        return certificate, key


_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def make_authority(folder: Path, name: str) -> Authority:
    """Make a new authority. Skips the test where there is no openssl."""
    if shutil.which("openssl") is None:
        pytest.skip("needs the openssl program")
    home = folder / name
    home.mkdir()
    made = Authority(home)
    _openssl(
        "req", "-x509", *_NEW_KEY, "-days", "2", "-subj", f"/CN={name}",
        "-keyout", home / "authority.key", "-out", made.certificate,
    )  # fmt: skip
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
