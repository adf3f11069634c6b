"""When the certificates that a process has loaded end, for the figure that an operator watches.

Python's `ssl` tells the end of a peer's certificate, not of one's own; the two dates are at a fixed place of X.509 (RFC 5280 §4.1).
"""

from __future__ import annotations

import re
import ssl
from datetime import UTC, datetime
from pathlib import Path

from runtime.metrics import CERTIFICATE_END
from runtime.settings import TlsSection, read_pem

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _VERSION, _UTC_TIME = 0x30, 0xA0, 0x17


def publish_certificate_ends(tls: TlsSection) -> None:
    """Set the figure of each file that this process shows or trusts; files without a certificate that can be read set none."""
    for kind, path in (("own", tls.certificate), ("authority", tls.authority)):
        if path is not None and (end := first_end(path)) is not None:
            CERTIFICATE_END.labels(kind).set(end.timestamp())


def first_end(path: Path) -> datetime | None:
    """Return when the first of a PEM file's certificates ends; None when none can be read. Raises SettingsError."""
    ends = []
    for pem in _PEM.findall(read_pem(path).decode("ascii", "replace")):
        try:
            ends.append(end_of(ssl.PEM_cert_to_DER_cert(pem)))
        except (ValueError, IndexError):  # what no certificate is, grpc refuses in its own words
            continue
    return min(ends, default=None)


def end_of(certificate: bytes) -> datetime:
    """Return `notAfter` of a DER certificate. Raises ValueError, IndexError for bytes that are none."""
    (_, whole), *_ = _elements(certificate)
    (_, signed), *_ = _elements(whole)
    fields = _elements(signed)
    if fields[0][0] == _VERSION:
        del fields[0]
    _serial, _algorithm, _issuer, (kind, validity), *_ = fields
    if kind != _SEQUENCE:
        raise ValueError("no X.509 certificate")
    kind, end = _elements(validity)[1]
    text = end.decode("ascii")
    if kind == _UTC_TIME:  # two digits of the year: 50 to 99 are of the last century
        text = ("19" if text[:2] >= "50" else "20") + text
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _elements(der: bytes) -> list[tuple[int, bytes]]:
    """Return the elements that lie side by side in some DER, each with its tag."""
    found = []
    while der:
        tag, length, begin = der[0], der[1], 2
        if length & 0x80:
            begin += length & 0x7F
            length = int.from_bytes(der[2:begin], "big")
        if begin + length > len(der):
            raise ValueError("it is cut off")
        found.append((tag, der[begin : begin + length]))
        der = der[begin + length :]
    return found
