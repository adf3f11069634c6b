"""Certificates of hosts: an authority for this story alone, and a certificate for each host's address and its names."""

from __future__ import annotations

import subprocess
from pathlib import Path

from bench.hosts.names import DOMAIN

_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificates:
    """One authority in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self.authority = folder / "authority.pem"
        _openssl(
            "req", "-x509", *_NEW_KEY, "-days", "2", "-subj", "/CN=story-hosts",
            "-keyout", folder / "authority.key", "-out", self.authority,
        )  # fmt: skip

    def files(self, address: str) -> tuple[Path, Path, Path]:
        """Return the certificate of a host, its key, and the authority that signed it."""
        key, request, certificate, extensions = (
            self._folder / f"{address}.{kind}" for kind in ("key", "csr", "pem", "ext")
        )
        if not certificate.exists():
            _openssl("req", "-new", *_NEW_KEY, "-keyout", key, "-out", request, "-subj", f"/CN={address}")
            extensions.write_text(f"subjectAltName=IP:{address},DNS:*.{DOMAIN}\n")
            _openssl(
                "x509", "-req", "-in", request, "-CA", self.authority, "-CAkey", self._folder / "authority.key",
                "-CAcreateserial", "-days", "2", "-extfile", extensions, "-out", certificate,
            )  # fmt: skip
        return certificate, key, self.authority

    def settings(self, address: str) -> dict[str, str]:
        """Return the settings by which a process shows its host's certificate, and wants one of its peers."""
        names = ("CERTIFICATE", "PRIVATE_KEY", "AUTHORITY")
        return {
            f"YIVIDEO_RUNTIME__TLS__{name}": str(path)
            for name, path in zip(names, self.files(address), strict=True)
        }


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=30)
