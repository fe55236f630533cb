"""URLs, read strictly."""

import pytest

from proxy.control.url import InvalidUrl, parse_url


@pytest.mark.parametrize(
    ("raw", "parts", "authority"),
    [
        ("http://a", ("http", "a", 80, "/"), "a"),
        ("https://a.example/jwks", ("https", "a.example", 443, "/jwks"), "a.example"),
        ("https://A.Example:8443/T?x=y", ("https", "a.example", 8443, "/T?x=y"), "a.example:8443"),
        ("https://a?q", ("https", "a", 443, "/?q"), "a"),
        ("http://127.0.0.1:80/", ("http", "127.0.0.1", 80, "/"), "127.0.0.1"),
        ("https://[::1]:443/%2f", ("https", "::1", 443, "/%2f"), "[::1]"),
        ("http://[2001:DB8::1]:8080", ("http", "2001:db8::1", 8080, "/"), "[2001:db8::1]:8080"),
        ("http://tts.default.svc/token", ("http", "tts.default.svc", 80, "/token"), "tts.default.svc"),
    ],
)
def test_good(raw: str, parts: tuple[str, str, int, str], authority: str) -> None:
    """Scheme, host, port, target; and what Host says."""
    url = parse_url(raw)
    assert (url.scheme, url.host, url.port, url.target) == parts
    assert url.authority == authority


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "",
            "a",
            "/jwks",
            "//a/b",
            "ftp://a",
            "file:///etc/passwd",
            "HTTPS://a",
            "https:/a",
            "https://",
            "https:///x",
        ),
        *("https://user@a/", "https://user:pw@a/", "https://a/#f", "https://a#f"),
        *("https://a:0/", "https://a:65536/", "https://a:/", "https://a:+1/", "https://a:1_0/", "https://a:٣/"),
        *(
            "https://a b/",
            "https://a/b c",
            "https://a/\r\nX: y",
            "https://a/\n",
            "https://a/\t",
            " https://a",
            "https://a\n",
        ),
        *(
            "https://a\\@b/",
            "https://a/\\",
            "https://a/%",
            "https://a/%2",
            "https://a/%zz",
            "https://a/é",
            "https://é/",
        ),
        *("https://[::1/", "https://::1/", "https://[:::]/", "https://[1.2.3.4]/", "https://[::1%25eth0]/"),
        *("https://a/<b>", 'https://a/"', "https://a/{b}", "https://a/|", "https://a/^", "https://" + "a" * 254),
    ],
)
def test_bad(raw: str) -> None:
    """What another reader could take to mean another place is not a URL here."""
    with pytest.raises(InvalidUrl):
        parse_url(raw)
