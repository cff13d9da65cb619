"""An address has one host, however it is written."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.operator.seeding.addresses import address_in, host_of, page_of, visible

ACME = (
    *("acme.com", "ACME.COM", "acme.com.", "www.acme.com", "WWW.Acme.com.", "acme.com:443"),
    *(
        "https://acme.com",
        "HTTP://user:pw@www.acme.com:8080/a?b=c#d",
        "//acme.com/",
        "ftp://acme.com",
    ),
    *("http//acme.com", "https:/acme.com", "HTTPS:\\\\acme.com\\x", "acme.com?x=1", "<acme.com>"),
    *("info@acme.com", "mailto:Info@Acme.com?subject=Hi", " acme.com ", "acme\u200b.com"),
    *(
        "\ufeffacme.com",
        "acme\uff0ecom",
        "\uff41cme.com",
        "acme.com, acme.de",
        "acme.com; info@acme.de",
    ),
)
MUNICH = (
    *("münchen.de", "MÜNCHEN.DE.", "xn--mnchen-3ya.de", "XN--MNCHEN-3YA.de", "mu\u0308nchen.de"),
    *("https://www.münchen.de:443/rathaus", "info@münchen.de", "mün\u200bchen.de", "münchen。de"),
)
NOTHING = (
    *("", "acme", "n/a", "N.A.", "n.a", "-", "12.50", "1.5", "see acme.com", "localhost:8080"),
    *("St. Mary's", "acme.com (main)", "acme..com", "-acme.com", "https://", "@", "a@", ".com"),
    *("x" * 64 + ".com", "a." * 150 + "com", "\u200b", "[::1]"),
)


@pytest.mark.parametrize(
    ("texts", "host"),
    [
        (ACME, "acme.com"),
        (MUNICH, "xn--mnchen-3ya.de"),
        (("faß.de", "FAß.DE"), "xn--fa-hia.de"),
        (("https://www.bbc.co.uk/news",), "bbc.co.uk"),
        (("blog.acme.com",), "blog.acme.com"),
        (("www.de",), "www.de"),
        (("10.0.0.1:80",), "10.0.0.1"),
        (("a_b.com",), "a_b.com"),
        (NOTHING, None),
    ],
)
def test_every_spelling_has_one_host(texts: tuple[str, ...], host: str | None) -> None:
    assert {text: host_of(text) for text in texts} == dict.fromkeys(texts, host)


@given(st.text() | st.sampled_from([*ACME, *MUNICH]))
def test_the_host_of_a_host_is_itself(text: str) -> None:
    host = host_of(text)
    assert host is None or (host.isascii() and host_of(host) == host)


@pytest.mark.parametrize(
    "text", ["a." * 2_000_000, "@" * 4_000_000, "é." * 500_000, "a;" * 500_000]
)
def test_a_cell_of_megabytes_takes_no_time(text: str) -> None:
    started = time.process_time()
    host_of(text)
    assert time.process_time() - started < 3


@pytest.mark.parametrize(
    ("address", "case", "page"),
    [
        ("https://de.linkedin.com/company/Acme/?trk=x", False, "linkedin.com/company/acme"),
        ("linkedin.com//company\\acme/", False, "linkedin.com/company/acme"),
        ("linkedin.com/company/n%C3%A9", False, "linkedin.com/company/né"),
        ("linkedin.com/company/ne\u0301", False, "linkedin.com/company/né"),
        ("bit.ly/aB", True, "linkedin.com/aB"),
        ("x.com/p?ID=Ab&utm=y", False, "linkedin.com/p?id=Ab"),
        ("x.com/?id=7", False, "linkedin.com/?id=7"),
        ("x.com/%00", False, "linkedin.com/%00"),
        ("x.com/", False, None),
        ("x.com/%20/", False, None),
        ("x.com/?id=", False, None),
        ("x.com?utm=y", False, None),
        ("info@x.com/a", False, None),
    ],
)
def test_a_page_is_named_by_its_path(address: str, case: bool, page: str | None) -> None:
    found = address_in(address)
    assert found
    assert page_of(found, "linkedin.com", case=case, parameters=frozenset(["id"])) == page


@given(st.text())
def test_what_is_visible_stays_and_its_spellings_become_one(text: str) -> None:
    assert visible(visible(text)) == visible(text)
    assert visible("e\u0301\u200b  x\ufeff") == visible("\u00e9 x") == "\u00e9 x"
