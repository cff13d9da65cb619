"""Which company a row is: rows of one come to one key, and rows of two never do."""

from pathlib import Path

import pytest

from reconciler.contract.errors import BadInput
from reconciler.operator.seeding.file import open_seed_file
from reconciler.operator.seeding.identity import by_column, by_kind, spellings
from reconciler.operator.seeding.rows import Rejection
from reconciler.operator.seeding.shared_hosts import bundled, sharing
from tests.reconciler.operator.seeding.reading import read, saved


def keys(folder: Path, text: str, **options: str) -> list[str]:
    """The key of each row, and the reason of each that has none."""
    _, records, rejected = read(saved(folder, text), **options)
    lines = [(r.line, r.key) for r in records] + [(r.line, r.reason) for r in rejected]
    return [said for _, said in sorted(lines)]


def test_hosts_that_many_share_identify_nobody(tmp_path: Path) -> None:
    rows = (
        "A,https://www.linkedin.com/company/a",
        "B,https://de.linkedin.com/company/B/?trk=x",
        "B,linkedin.com/company/b",
        "C,info@gmail.com",
        "D,mailto:d@gmail.com",
        "E,facebook.com",
        "F,https://www.facebook.com/",
        "G,https://sites.google.com/view/g",
        "H,h.github.io/docs",
        "I,https://play.google.com/store/apps/details?id=com.I&hl=en",
        "J,https://bit.ly/aB",
        "K,https://bit.ly/ab",
        "L,bob.wixsite.com/l",
        "M,bob.wixsite.com/m",
        "N,bob.wixsite.com",
        '"Etsy, Inc.",https://www.etsy.com',
        "Etsy Pottery,etsy.com",
        "DE Group,de.linkedin.com",
        "Apollo.io,apollo.io",
    )
    _, records, _ = read(saved(tmp_path, "name,website\n" + "\n".join(rows) + "\n"))
    assert [(record.key, record.domain) for record in records] == [
        ("linkedin.com/company/a", None),
        ("linkedin.com/company/b", None),
        ("linkedin.com/company/b", None),
        ("C", None),
        ("D", None),
        ("E", None),
        ("F", None),
        ("sites.google.com/view/g", None),
        ("h.github.io", "h.github.io"),
        ("play.google.com/store/apps/details?id=com.I", None),
        ("bit.ly/aB", None),
        ("bit.ly/ab", None),
        ("bob.wixsite.com/l", None),
        ("bob.wixsite.com/m", None),
        ("bob.wixsite.com", None),
        ("etsy.com", "etsy.com"),
        ("Etsy Pottery", None),
        ("DE Group", None),
        ("apollo.io", "apollo.io"),
    ]
    assert records[0].attributes["website"] == "https://www.linkedin.com/company/a"


def test_a_row_is_its_key_else_its_domain_else_its_name(tmp_path: Path) -> None:
    text = (
        "id,name,website\n7,Acme,acme.com\n,Acme,acme.com\n,Acme,\n,,\n,Acme,n/a\n"
        "N/A,Zebra,-\n,unknown,gmail.com\n"
    )
    assert keys(tmp_path, text) == [
        *("7", "acme.com", "Acme", "empty row", "Acme", "Zebra"),
        "no value in key column 'id'; many companies share the host gmail.com in key column"
        " 'website'; 'unknown' in key column 'name' names no company",
    ]


def test_signs_and_words_for_nothing_name_no_company(tmp_path: Path) -> None:
    nothing = ("-", "?", "—", "n/a", "#N/A", "NULL", "None", "Unknown", " . ")
    names = ("3M", "+", "NA", "Nonesuch", "N/A Ltd", "\\N", "❤", "C++")
    text = "name\n" + "\n".join((*nothing, *names)) + "\n"
    found = keys(tmp_path, text)
    assert found[len(nothing) :] == list(names)
    assert all("names no company" in reason for reason in found[: len(nothing)])


def test_a_list_of_columns_is_tried_in_its_order_and_no_other_column(tmp_path: Path) -> None:
    text = "id,name,website,ticker\n7,Acme,acme.com,ACM\n8,Zebra,,ZBR\n9,Nobody,,\n"
    assert keys(tmp_path, text, key="website,ticker") == [
        *("acme.com", "ZBR"),
        "no value in key column 'website'; no value in key column 'ticker'",
    ]


def test_all_spellings_of_a_name_or_a_domain_are_one_company(tmp_path: Path) -> None:
    text = (
        "domain\nmünchen.de\nxn--mnchen-3ya.de\nMÜNCHEN.DE.\nmün\u200bchen.de\nmu\u0308nchen.de\n"
    )
    assert keys(tmp_path, text) == ["xn--mnchen-3ya.de"] * 5
    names = "name\nNestlé  SA\nNestle\u0301 SA\n\u200bNestlé SA\n"
    assert keys(tmp_path, names) == ["Nestlé SA"] * 3


def test_the_domain_is_the_bare_host_and_the_cell_stays(tmp_path: Path) -> None:
    _, (record,), _ = read(saved(tmp_path, "Name,Website\nCarrianna,http://www.carrianna.com\n"))
    assert (record.key, record.domain) == ("carrianna.com", "carrianna.com")
    assert record.attributes["Website"] == "http://www.carrianna.com"


def test_an_address_in_a_key_column_is_one_in_all_its_spellings(tmp_path: Path) -> None:
    assert keys(tmp_path, "id\nhttps://acme.com\n1\n", system="crm") == ["acme.com", "crm:1"]
    text = "LinkedIn\nhttps://www.linkedin.com/company/Acme/\nhttp://linkedin.com/company/acme\n"
    assert keys(tmp_path, text, key="LinkedIn") == ["linkedin.com/company/acme"] * 2
    text = "Email\nInfo@Acme.com\nmailto:sales@acme.com\nAcme@Gmail.com\nmailto:acme@gmail.com\n"
    assert keys(tmp_path, text, key="Email") == ["acme.com"] * 2 + ["acme@gmail.com"] * 2
    assert keys(tmp_path, "key\nnode.js\nBooking.com\n") == ["node.js", "Booking.com"]


def test_ids_are_those_of_a_system_and_domains_and_names_are_everybodys(tmp_path: Path) -> None:
    text = "id,name,website\n1,A,\n,B,b.com\n,C,\n\u200b,\u200b,\u200b\n"
    assert keys(tmp_path, text, system="crm")[:3] == ["crm:1", "b.com", "C"]
    assert keys(tmp_path, text, system="crm")[3].startswith("'\\u200b' in key column 'id'")


def test_a_key_that_is_too_long_for_an_index_leaves_the_row_to_the_next_column(
    tmp_path: Path,
) -> None:
    page = "linkedin.com/company/" + "a" * 600
    assert keys(tmp_path, f"name,website\nA,{page}\n") == ["A"]


def test_rows_are_counted_by_what_identified_them(tmp_path: Path) -> None:
    text = "id,name,website\n,A,a.com\n,B,\n,C,x.com/c\n,D,\n7,E,e.com\n,,\n"
    with open_seed_file(str(saved(tmp_path, text)), mapping={}, key=None) as seed:
        list(seed)
    assert by_kind(seed.identity.counts) == {"key": 1, "domain": 1, "page": 1, "name": 2}
    assert by_column(seed.identity.counts) == {"id": 1, "website": 2, "name": 2}


def test_a_list_of_ones_own_adds_hosts_and_takes_some_off(tmp_path: Path) -> None:
    mine = saved(tmp_path, "# ours\nPages.Example  users # each is one\n!etsy.com\n", "mine.txt")
    text = "name,website\nA,pages.example/a\nB,pages.example\nC,etsy.com\nD,gmail.com\n"
    assert keys(tmp_path, text, shared=str(mine)) == ["pages.example/a", "B", "etsy.com", "D"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"acme.com\nnot a host\n", "line 2: 'a' is no word"),
        (b"nohost\n", "line 1: 'nohost' is no host"),
        (b"\xff\xfe", "is no UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_cannot_be_used_is_one_clear_sentence(
    tmp_path: Path, content: bytes | None, says: str
) -> None:
    path = tmp_path / "mine.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadInput, match=r"^[^\n]+$") as raised:
        read(saved(tmp_path, "name\nA\n"), shared=str(path))
    assert says in str(raised.value)


def test_the_bundled_list_knows_every_kind_of_host() -> None:
    shared = bundled()
    for host in (
        "gmail.com",
        "linkedin.com",
        "wixsite.com",
        "apps.apple.com",
        "bit.ly",
        "etsy.com",
    ):
        assert sharing(host, shared), host
    assert sharing("m.facebook.com", shared) == shared["facebook.com"]
    assert sharing("acme.myshopify.com", shared) is None
    assert sharing("myshopify.com", shared)
    assert sharing("acme.com", shared) is None
    assert all(entry.host == host for host, entry in shared.items())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("www.acme.com", ["www.acme.com", "acme.com"]),
        ("https://linkedin.com/company/A", ["linkedin.com/company/a"]),
        (" Acme ", [" Acme ", "Acme"]),
        ("acme.com", ["acme.com"]),
    ],
)
def test_what_a_person_types_is_looked_for_in_all_its_spellings(
    text: str, found: list[str]
) -> None:
    assert [key for key in spellings(text) if key in found] == found


def test_a_rejection_says_what_was_looked_at(tmp_path: Path) -> None:
    _, _, rejected = read(saved(tmp_path, "website\nn/a\nfoo\ngmail.com\n"))
    assert rejected == [
        Rejection(2, "no host in key column 'website': 'n/a'"),
        Rejection(3, "no host in key column 'website': 'foo'"),
        Rejection(4, "many companies share the host gmail.com in key column 'website'"),
    ]
