"""When a certificate ends, as openssl says it too."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from runtime.certificate_age import end_of, first_end, publish_certificate_ends
from runtime.settings import TlsSection
from tests.runtime.certificates import make_authority


def told(path: Path) -> datetime:
    """What openssl reads."""
    shown = subprocess.run(
        ["openssl", "x509", "-in", str(path), "-noout", "-enddate"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return datetime.strptime(shown.strip(), "notAfter=%b %d %H:%M:%S %Y GMT").replace(tzinfo=UTC)


def test_the_end_is_the_one_that_openssl_reads(tmp_path: Path) -> None:
    """Of a certificate, of an authority far in the future (another form of date), and the first of a chain."""
    authority = make_authority(tmp_path, "ca")
    certificate, key = authority.sign("node")
    assert first_end(certificate) == told(certificate)
    far = tmp_path / "far.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "20000",
         "-subj", "/CN=far/O=" + "x" * 60, "-keyout", str(tmp_path / "far.key"), "-out", str(far)],
        check=True, capture_output=True,
    )  # fmt: skip
    assert first_end(far) == told(far) and told(far).year > 2050
    chain = tmp_path / "chain.pem"
    chain.write_bytes(far.read_bytes() + certificate.read_bytes())
    assert first_end(chain) == told(certificate)
    publish_certificate_ends(TlsSection(certificate=certificate, private_key=key, authority=far))
    for kind, path in (("own", certificate), ("authority", far)):
        shown = REGISTRY.get_sample_value("yivideo_certificate_end_timestamp_seconds", {"kind": kind})
        assert shown == told(path).timestamp()


def test_what_no_certificate_is_has_no_end(tmp_path: Path) -> None:
    """Bytes that are none are left to grpc to refuse; nothing is read past their end."""
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    assert first_end(broken) is None
    for der in (b"", b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x30\x01\x00"):
        with pytest.raises((ValueError, IndexError)):
            end_of(der)
