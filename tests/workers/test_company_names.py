"""Company names and domains come out in one spelling, offline, whatever goes in."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import cli
from workers.company_names import canonical_domain, split_legal_form

PIECES = "The|AG|Inc.|Ltd|&|Co.|KG|S.|A.|(The)|(Class A)|Acme|,|有限公司"
WORDS = st.sampled_from(PIECES.split("|"))
NAMES = st.text() | st.lists(WORDS).map(" ".join)
ADDRESSES = st.text() | st.from_regex(r"(https?://)?[\w.@-]+\.(com|co\.uk|github\.io)(/\S*)?")


@pytest.mark.parametrize(
    ("text", "domain"),
    [
        ("https://www.Apple.com/iphone?x=1#top", "apple.com"),
        ("www.about.sainsburys.co.uk", "sainsburys.co.uk"),
        ("  INFO@bbc.co.uk ", "bbc.co.uk"),
        ("mailto:post@müller.de", "xn--mller-kva.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("http://пример.рф", "xn--e1afmkfd.xn--p1ai"),
        ("例え。jp", "xn--r8jz45g.jp"),
        ("http://user:word@example.com:8080/?next=@other.org", "example.com"),
        ("example.com.", "example.com"),
        ("https//example.com", "example.com"),
        ("Example (www.example.com)", "example.com"),
        ("example.com, example.de", "example.com"),
        ("abc.xyz", "abc.xyz"),
        ("www.com", "www.com"),
    ],
)
def test_a_domain_is_found_in_any_spelling_of_an_address(text: str, domain: str) -> None:
    assert canonical_domain(text) == domain


NO_ADDRESS = (
    "|n/a| |-|none|http://|192.168.0.1|http://[::1]:80/|localhost|com|co.uk|server.internal|"
    "A. O. Smith Inc.|ex_ample.com|-a.com|\ud800.com"
)
WHOLE_NAMES = (
    "Limited|AG|Inc.|The Limited|The Company|(The)|Day Spa|Such as|& Co.|A. S. Roma|AB Volvo|"
    "Bank of America|有限公司|"
)


@pytest.mark.parametrize("text", [None, *NO_ADDRESS.split("|")])
def test_what_is_no_address_has_no_domain(text: str | None) -> None:
    assert canonical_domain(text) is None


def test_companies_under_a_shared_host_stay_apart() -> None:
    assert canonical_domain("https://acme.github.io/shop") == "acme.github.io"
    assert canonical_domain("https://www.github.io") == "github.io"


def test_nothing_is_fetched_or_written_to_find_a_domain(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "def refuse(event, args):\n"
        "    assert event not in ('socket.connect', 'socket.getaddrinfo', 'os.mkdir'), event\n"
        "from workers.company_names import canonical_domain\n"
        "sys.addaudithook(refuse)\n"
        "print(canonical_domain('never-seen-before.co.za'))"
    )
    home = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=home, capture_output=True, text=True, check=True
    )
    assert done.stdout == "never-seen-before.co.za\n"
    assert list(tmp_path.iterdir()) == []


@given(ADDRESSES)
@example("İ.com")
def test_a_canonical_domain_is_its_own_canonical_domain(text: str) -> None:
    domain = canonical_domain(text)
    assert canonical_domain(domain) == domain
    assert domain is None or (domain.isascii() and domain == domain.lower() and "." in domain)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("3M", ("3M", None)),
        ("Apple Inc.", ("Apple", "Inc.")),
        ("ACME INC", ("ACME", "Inc.")),
        ("Amazon.com,Inc.", ("Amazon.com", "Inc.")),
        ("Toyota  Motor\tCorporation", ("Toyota Motor", "Corporation")),
        ("Alphabet Inc. (Class A)", ("Alphabet", "Inc.")),
        ("Coca-Cola Company (The)", ("Coca-Cola", "Company")),
        ("The Coca-Cola Company", ("Coca-Cola", "Company")),
        ("Lilly (Eli)", ("Lilly (Eli)", None)),
        ("Merck & Co., Inc.", ("Merck & Co.", "Inc.")),
        ("Deere & Company", ("Deere & Company", None)),
        ("BP p.l.c.", ("BP", "plc")),
        ("Nintendo Co., Ltd.", ("Nintendo", "Co., Ltd.")),
        ("Atlassian Pty Ltd", ("Atlassian", "Pty Ltd")),
        ("Grab Pte. Ltd.", ("Grab", "Pte. Ltd.")),
        ("Siemens AG", ("Siemens", "AG")),
        ("siemens ag", ("siemens", "AG")),
        ("Haniel GmbH&Co. KG", ("Haniel", "GmbH & Co. KG")),
        ("LVMH Moët Hennessy Louis Vuitton SE", ("LVMH Moët Hennessy Louis Vuitton", "SE")),
        ("Nestlé S. A.", ("Nestlé", "S.A.")),
        ("Carrefour SA", ("Carrefour", "S.A.")),
        ("Philips N.V.", ("Philips", "N.V.")),
        ("Enel SpA", ("Enel", "S.p.A.")),
        ("Ericsson AB (publ)", ("Ericsson", "AB")),
        ("Novo Nordisk A/S", ("Novo Nordisk", "A/S")),
        ("ČEZ, a. s.", ("ČEZ", "a.s.")),
        ("Nokia Oyj", ("Nokia", "Oyj")),
        ("América Móvil, S.A.B. de C.V.", ("América Móvil", "S.A.B. de C.V.")),
        ("株式会社日立製作所", ("日立製作所", "株式会社")),
        ("华为技术有限公司", ("华为技术", "有限公司")),
    ],
)
def test_the_legal_form_is_split_from_the_name(name: str, parts: tuple[str, str | None]) -> None:
    assert split_legal_form(name) == parts


@pytest.mark.parametrize("name", WHOLE_NAMES.split("|"))
def test_a_name_that_only_looks_like_a_form_stays_whole(name: str) -> None:
    assert split_legal_form(name) == (name, None)


@given(NAMES)
def test_a_split_name_is_a_part_of_the_name_and_never_empty(name: str) -> None:
    bare, form = split_legal_form(name)
    assert bare in " ".join(name.split())
    assert bool(bare) == bool(name.strip())
    assert form is None or split_legal_form(f"{bare} {form}")[1] is not None


@given(st.text(st.characters(categories=["Lu"]), min_size=1).map(lambda text: f"{text} x"))
def test_a_form_that_is_joined_to_a_name_is_split_off_again(name: str) -> None:
    for form in ("Inc.", "GmbH & Co. KG", "S.p.A.", "Co., Ltd.", "AG", "S.A. de C.V."):
        assert split_legal_form(f"{name}, {form}") == (name, form)


def test_the_bundled_companies_all_have_a_name_and_a_domain_of_their_own() -> None:
    with Path(cli.__file__).with_name("demo_companies.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    domains = {canonical_domain(row["Company Website Full"]) for row in rows}
    assert len(rows) == 60
    assert len(domains - {None}) == 60
    assert sum(split_legal_form(row["Company Name"])[1] is not None for row in rows) > 50
