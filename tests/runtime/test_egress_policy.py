"""Which addresses may be called: the whole table, without a network."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.egress import MAX_URL_LENGTH, EgressPolicy, is_public
from runtime.egress_policy import STACK_SETTING
from runtime.errors import AddressRefused, InvalidArgument
from runtime.section_names import variable_name
from stack.part_settings import _INSTEAD

PRIVATE = [
    "0.0.0.0", "0.1.2.3",  # this network
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255",
    "100.64.0.1", "100.100.100.200", "100.127.255.255",  # carrier-grade NAT, and a cloud's metadata in it
    "127.0.0.1", "127.255.255.254",
    "169.254.0.1", "169.254.169.254",  # link-local and the usual metadata address
    "168.63.129.16",  # a cloud's wire server
    "192.0.0.1", "192.0.0.9", "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1",
    "192.88.99.1",  # 6to4 relay
    "198.18.0.1", "198.19.255.255",  # benchmarks
    "224.0.0.1", "239.255.255.255",  # multicast
    "240.0.0.1", "255.255.255.255",
    "::", "::1", "::2",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",  # mapped
    "::127.0.0.1", "::8.8.8.8",  # IPv4-compatible
    "::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8",  # IPv4-translated
    "::ffff:100.64.0.1", "::ffff:224.0.0.1", "::ffff:255.255.255.255", "::ffff:168.63.129.16", "::ffff:0.0.0.0",
    "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b::a9fe:a9fe",  # NAT64 of private addresses
    "64:ff9b::e000:1", "64:ff9b::ffff:ffff", "64:ff9b::6440:1", "64:ff9b::c0a8:1", "64:ff9b::a83f:8110",
    "64:ff9b:1::1", "64:ff9b:1::808:808", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",  # local-use NAT64
    "64:ff9a:ffff::1", "64:ff9b:0:1::808:808", "64:ff9b:2::1",  # beside both, given to nobody
    "2002:7f00:1::", "2002:a00:1::1", "2002:808:808::1",  # 6to4
    "2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2001:10::1", "2001:20::1", "2001:db8::1", "3fff::1",
    "100::1",  # discard
    "fc00::1", "fd00::1", "fd00:ec2::254",  # unique local, and a cloud's metadata in it
    "fe80::1", "febf::1",  # link-local
    "fec0::1", "feff::1",  # site-local
    "ff02::1", "ff0e::1",  # multicast
    "4000::1", "5f00::1", "e000::1",  # never given out as global unicast
]  # fmt: skip

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "169.255.0.1", "172.15.255.255", "172.32.0.1", "191.255.255.255", "192.0.1.1", "192.167.255.255",
    "192.169.0.1", "198.17.255.255", "198.20.0.1", "223.255.255.255",
    "2606:4700::1111", "2a00:1450:4001::200e", "2001:4860:4860::8888",
    "::ffff:8.8.8.8", "64:ff9b::808:808",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_no_private_address_is_public(text: str) -> None:
    """Every special range, in every IPv6 wrapping, is refused."""
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_neighbours_of_private_ranges_stay_public(text: str) -> None:
    """The ranges end where they end: real addresses next to them can be called."""
    assert is_public(ipaddress.ip_address(text))


@given(st.ip_addresses(v=4))
def test_wrapping_never_makes_an_address_public(address: ipaddress.IPv4Address) -> None:
    """Mapped and NAT64 forms are exactly as public as the address inside; 6to4 and IPv4-compatible never are."""
    number = int(address)
    assert is_public(ipaddress.IPv6Address(0xFFFF << 32 | number)) == is_public(address)
    assert is_public(ipaddress.IPv6Address((0x64FF9B << 96) | number)) == is_public(address)
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))
    assert not is_public(ipaddress.IPv6Address(number))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.0.1", "0x7f.1", "0x7f000001", "2130706433", "017700000001", "0177.0.0.1", "127.0.0.1.",
        "0", "0.0.0.0", "10.0.0.5", "169.254.169.254", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]", "[fe80::1%25eth0]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
        "１２７.0.0.1", "①②⑦.0.0.1", "127。0。0。1",  # what IDNA makes of other digits and dots
        "0x7f.0x0.0x0.0x1", "0X7F000001", "0x7F.1", "00000177.1", "127.0x1", "127.0.1.", "0x0", "00", "0.0", "017700000001.",
        "0xa9fea9fe", "2852039166", "0251.0376.0251.0376", "169.254.43518", "169.16689662",  # the metadata address
        "0xa.0.0.5", "012.0.0.5", "167772165", "192.168.257", "0300.0250.1.1", "172.1048577", "100.4194305", "3232235777",
        "[::127.0.0.1]", "[::ffff:0:127.0.0.1]", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[0::1]", "[::0001]",
        "[64:ff9b::169.254.169.254]", "[64:ff9b:1::8.8.8.8]", "[2001:0:7f00:1::]", "[fe80::1%eth0]", "[fe80::1%251]", "[::1%25lo]",
        "[ff02::1]", "[fec0::1]", "[fd00:ec2::254]", "[2001:db8::1]", "[3fff::1]", "[100::1]",
        "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16", "192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1",
        "192.88.99.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", "172.31.255.255", "192.168.0.1",
        "localhost", "LOCALHOST", "localhost.", "ⓛocalhost", "api.localhost", "printer.local", "metadata.google.internal",
    ],
)  # fmt: skip
def test_every_spelling_of_a_private_host_is_refused_at_once(host: str) -> None:
    """A client learns at submit that its URL will not be called, however the address is spelled."""
    with pytest.raises(AddressRefused):
        EgressPolicy().check_url(f"http://{host}/hook")


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "//example.com/", "http:", "http://", "http:///path", "http:example.com", "/path",
        "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "javascript:alert(1)", "data:text/plain,x",
        "unix:///var/run/docker.sock", "ws://example.com/",
        "http://user@example.com/", "http://user:pw@example.com/", "http://:pw@example.com/",
        "http://127.0.0.1%2f@example.com/", "http://example.com\\@127.0.0.1/", "http://127.0.0.1\\@example.com/",
        "http://[::1", "http://example.com:0/", "http://example.com:99999/", "http://example.com:-1/", "http://example.com:x/",
        "http://exa mple.com/", "http://exam%00ple.com/", "http://exam%2fple.com/",
        "http://example.com:80:80/", "http://example.com:0x50/", "http://@127.0.0.1/",
        "http://example.com@127.0.0.1/", "http://example.com:80@127.0.0.1/", "http://example.com%40127.0.0.1/", "http://a:b@[::1]/",
        "http://example.com%00.evil/", "http://example.com\t.evil/", "http://example.com\r\nX-Evil: 1/", "http://example.com/\n",
        "http://127.0.0.1#@example.com/", "http://127.0.0.1?@example.com/", "http://127.0.0.1;@example.com/", "http://[::1]x/",
        "http://[127.0.0.1]/", "http://[]/", "http://[::ffff:127.0.0.1/", "http://::1/", "http://%6c%6f%63%61%6c%68%6f%73%74/",
        "HTTP:\\\\127.0.0.1\\", "http:\\127.0.0.1/", "dict://example.com/", "ldap://example.com/", "tftp://example.com/",
        "jar:http://example.com!/", "view-source:http://example.com/", "netdoc:///etc/passwd", "about:blank", "smtp://example.com/",
        "http://" + "a" * 254 + "/",
        "http://example.com/" + "a" * MAX_URL_LENGTH,
    ],
)  # fmt: skip
def test_what_is_not_a_plain_web_address_is_refused(url: str) -> None:
    """Other schemes, credentials, port 0, broken and over-long URLs are AddressRefused, never another exception."""
    with pytest.raises(AddressRefused):
        EgressPolicy().check_url(url)


@given(st.text(max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    """Whatever a client sends, the check answers with a URL or AddressRefused."""
    for url in (text, "http://" + text):
        with contextlib.suppress(AddressRefused):
            EgressPolicy().check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "https://example.com:8443/a?b=c#d", "http://8.8.8.8/", "http://[2606:4700::1111]:8080/",
        "http://münchen.example/", "http://under_score.example/", "HTTPS://EXAMPLE.COM/",
        "https://example.com/" + "a" * (MAX_URL_LENGTH - 20),
    ],
)  # fmt: skip
def test_public_web_addresses_pass(url: str) -> None:
    """A public name or address on any port may be called."""
    assert EgressPolicy().check_url(url).scheme in ("http", "https")


@pytest.mark.parametrize("port", [22, 25, 53, 110, 143, 389, 465, 587, 993, 6000, 6667])
def test_ports_of_other_services_are_refused(port: int) -> None:
    """A request must not be made to speak to mail or chat servers, unless the operator's list says so."""
    for host in ("example.com", "8.8.8.8", "[2606:4700::1111]"):
        with pytest.raises(AddressRefused, match="another service"):
            EgressPolicy(allow=("10.0.0.0/8",)).check_url(f"http://{host}:{port}/")
    EgressPolicy(allow=("10.0.0.0/8",)).check_url(f"http://10.0.0.5:{port}/")
    EgressPolicy(allow=("example.com",)).check_url(f"http://example.com:{port}/")


def test_schemes_can_be_narrowed() -> None:
    """An installation that wants https only gets https only."""
    policy = EgressPolicy(schemes=("https",))
    policy.check_url("https://example.com/")
    with pytest.raises(AddressRefused, match="https://"):
        policy.check_url("http://example.com/")


ALLOWED = [
    ("n8n.internal", "http://n8n.internal/", True),
    ("n8n.internal", "http://N8N.internal.:5678/", True),
    ("N8N.Internal.", "http://n8n.internal/", True),
    ("n8n.internal", "http://evil-n8n.internal/", False),
    ("n8n.internal", "http://x.n8n.internal/", False),
    ("n8n.internal:5678", "http://n8n.internal:5678/", True),
    ("n8n.internal:5678", "http://n8n.internal:5679/", False),
    ("n8n.internal:80", "http://n8n.internal/", True),
    ("n8n.internal:443", "https://n8n.internal/", True),
    ("10.0.0.5", "http://10.0.0.5:99/", True),
    ("10.0.0.5", "http://10.0.0.6/", False),
    ("10.0.0.5", "http://167772165/", True),
    ("10.0.0.5:80", "http://10.0.0.5/", True),
    ("10.0.0.5:80", "http://10.0.0.5:81/", False),
    ("10.1.0.0/16", "http://10.1.255.1/", True),
    ("10.1.0.0/16", "http://10.2.0.1/", False),
    ("10.1.2.3/16", "http://10.1.9.9/", True),
    ("10.1.0.0/16:8080", "http://10.1.0.1:8080/", True),
    ("10.1.0.0/16:8080", "http://10.1.0.1/", False),
    ("10.0.0.0/8", "http://[::ffff:10.0.0.5]/", True),
    ("fd00::/8", "http://[fd12::1]/", True),
    ("fd00::/8", "http://[fe80::1]/", False),
    ("[fd00::/8]:443", "https://[fd12::1]/", True),
    ("[fd00::/8]:443", "http://[fd12::1]/", False),
    ("::1", "http://[::1]:8080/", True),
    ("[::1]", "http://[::1]:8080/", True),
    ("[::1]:8080", "http://[::1]:8080/", True),
    ("[::1]:8080", "http://[::1]:8081/", False),
    ("::1:80", "http://[::1]/", False),  # an address that ends in :80, not a port
    ("fd00::1:80", "http://[fd00::1]/", False),
    ("127.0.0.1", "http://localhost/", True),  # a network is allowed: the resolved address decides
    ("127.0.0.1:81", "http://localhost/", False),
    ("0.0.0.0/0", "http://192.168.1.1/", True),
    ("0.0.0.0/0", "http://[fd00::1]/", False),
]


@pytest.mark.parametrize(("entry", "url", "passes"), ALLOWED)
def test_the_allow_list_opens_exactly_what_it_says(entry: str, url: str, passes: bool) -> None:
    """A host, an address or a network, on one port or on all; nothing beside it."""
    policy = EgressPolicy(allow=(entry,))
    if passes:
        policy.check_url(url)
    else:
        with pytest.raises(AddressRefused):
            policy.check_url(url)


@pytest.mark.parametrize(
    "entry",
    [
        "", "http://n8n.internal", "n8n.internal:", "n8n.internal:x", "n8n.internal:0", "n8n.internal:65536", "*.internal",
        "10.0.0.0/33", "10.0.0", "127.1", "[::1", "[::1]x", "[fd00::/129]", "a b", "host/path", "::1::2",
    ],
)  # fmt: skip
def test_a_slip_in_the_allow_list_is_loud(entry: str) -> None:
    """An entry that means nothing stops the process at its start instead of allowing nothing in silence."""
    with pytest.raises(InvalidArgument, match="allow-list"):
        EgressPolicy(allow=(entry,))


def test_a_refusal_names_the_setting_that_works_under_make_run() -> None:
    """The part's own setting, and the stack's, which decides it where the stack starts the part; nothing without a setting."""
    with pytest.raises(AddressRefused) as refused:
        EgressPolicy(setting="scheduler.callbacks.allow").check_url("http://127.0.0.1:8000/x")
    assert (
        "127.0.0.1 is not a public address; scheduler.callbacks.allow can allow it" in refused.value.message
    )
    assert STACK_SETTING in refused.value.message
    with pytest.raises(AddressRefused, match=r"is not a public address$"):
        EgressPolicy().check_url("http://127.0.0.1:8000/x")


def test_the_stack_has_the_setting_that_refusals_name() -> None:
    """It is the stack's, by the stack's own table of what it decides for its parts."""
    for name in ("scheduler.callbacks.allow", "node.egress_allow"):
        assert variable_name(*_INSTEAD[name].split(".")) == STACK_SETTING
