"""What a company is called and where it lives on the web, each in one spelling.

Pure and offline: the public suffix list is the snapshot that tldextract carries.
"""

import re
import unicodedata

from tldextract import TLDExtract

# No URL to fetch from and no directory to write to: workers may have neither.
_EXTRACT = TLDExtract(cache_dir=None, suffix_list_urls=(), include_psl_private_domains=True)
_SCAN_LIMIT = 4096

_SCHEME = re.compile(r"(?:https?:?/+|[a-z][a-z0-9+.-]*://|mailto:|//)")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def canonical_domain(text: str | None) -> str | None:
    """The registrable domain in a URL, an e-mail address or a host: "example.co.uk".

    Lower case, international names in their ASCII form (xn--…). Of several addresses the first
    one with a domain. Someone's place under a shared host counts as a domain of its own
    (acme.github.io), since companies there must not become one. None for IP addresses, for hosts
    without a public suffix, and for what is no address. Never raises.
    """
    if text is None:
        return None
    for word in re.split(r"[\s,;|<>()\"']+", _folded(text[:_SCAN_LIMIT])):
        host = _ascii_host(word)
        if host is not None and (domain := _registrable(host)) is not None:
            return domain
    return None


def _folded(text: str) -> str:
    # Lower case may leave a form that NFKC would still change (the dotted capital I does).
    lower = unicodedata.normalize("NFKC", text).lower()
    return unicodedata.normalize("NFKC", lower).replace("\u3002", ".")


def _ascii_host(word: str) -> str | None:
    scheme = _SCHEME.match(word)
    rest = re.split(r"[/?#\\]", word[scheme.end() if scheme else 0 :], maxsplit=1)[0]
    labels = rest.rpartition("@")[2].partition(":")[0].strip(".").split(".")
    coded = [_ascii_label(label) for label in labels]
    host = ".".join(label for label in coded if label is not None)
    return host if len(coded) > 1 and None not in coded and len(host) <= 253 else None


def _ascii_label(label: str) -> str | None:
    # Vowel signs and the like are part of a word in many scripts, though no letters.
    bare = "".join(char for char in label if unicodedata.category(char)[0] != "M")
    if len(label) > 63 or not all(char.isalnum() or char in "-_" for char in bare):
        return None
    return label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}"


def _registrable(host: str) -> str | None:
    found = _EXTRACT(host)
    if found.is_private and found.domain in ("", "www"):
        # The address of the shared host itself, www.github.io, and not of somebody under it.
        found = _EXTRACT(host, include_psl_private_domains=False)
    domain = found.top_domain_under_public_suffix
    labels_are_good = all(_LABEL.fullmatch(label) for label in domain.split("."))
    return domain if domain and labels_are_good else None


# Forms by the spelling that is given back. Dots, commas, spaces, accents and case do not matter
# in these, which are words or cannot be mistaken for any.
_WORDS = (
    "Inc.|Incorporated|Corp.|Corporation|Co.|Company|Ltd.|Limited|LLC|LLP|PLLC|plc|Co., Ltd.|"
    "Co., Inc.|Co., LLC|Company Limited|Public Limited Company|Pty Ltd|Pty Limited|Pte. Ltd.|"
    "Pte. Limited|Pvt. Ltd.|Pvt. Limited|Private Limited|Sdn. Bhd.|Bhd.|Berhad|Tbk|Ltda.|Limitada|"
    "Ltée|GmbH|gGmbH|GmbH & Co. KG|GmbH & Co. KGaA|AG & Co. KG|AG & Co. KGaA|SE & Co. KG|"
    "SE & Co. KGaA|Stiftung & Co. KG|KGaA|Aktiengesellschaft|Oyj|ApS|S.A. de C.V.|S.A.B. de C.V.|"
    "S. de R.L. de C.V.|S.A.P.I. de C.V.|Société Anonyme|Sociedad Anónima|Società per Azioni|"
    "Naamloze Vennootschap|S.à r.l.|Sp. z o.o.|d.o.o.|s.r.o.|Zrt.|Nyrt.|PJSC|OJSC|JSC|"
    "Kabushiki Kaisha|W.L.L."
)
# In these case does matter: a Day Spa is no S.p.A., and nobody means Norway by "as".
_ACRONYMS = (
    "AG|SE|S.A.|S.A.S.|S.C.A.|S.p.A.|S.r.l.|S.L.|S.L.U.|N.V.|B.V.|AB|ASA|A/S|AS|Oy|OÜ|UAB|SIA|"
    "K.K.|G.K.|L.P.|KG|OHG|e.V.|eG|S/A|EAD|AD|d.d.|Kft.|Lda.|N.A."
)
_WITH_DOTS = {"as": "a.s."}
_ENGLISH = {"as", "ad", "eg", "na", "spa"}
_EAST_ASIAN = ("股份有限公司", "有限责任公司", "有限公司", "株式会社", "주식회사")

_LONGEST = 6
# "Deere & Company" and "The Limited" are names as a whole.
_BINDS = {"&", "+", "and", "und", "et", "y", "e", "i", "og", "och", "the", "of"}
_REMARK = re.compile(r"\s*[(\[](?:the|publ\.?|(?:class|series) \w+)[)\]]$", re.IGNORECASE)


def split_legal_form(name: str) -> tuple[str, str | None]:
    """A company's name without its legal form, and the form in its usual spelling.

    ("Siemens", "AG"), ("3M", None). Runs of spaces become one; a remark at the end that is no part
    of the name, as in "Alphabet Inc. (Class A)", goes, and so does "The" where a form went. The
    name is never empty unless it was. A form in front of a name ("AB Volvo") stays with it, except
    in Chinese, Japanese and Korean. Never raises.
    """
    text = _without_remark(" ".join(name.split()))
    return _split_east_asian(text) or _split_last_words(text) or (text, None)


def _without_remark(text: str) -> str:
    while (shorter := _REMARK.sub("", text)) not in ("", text):
        text = shorter
    return text


def _split_east_asian(text: str) -> tuple[str, str] | None:
    for form in _EAST_ASIAN:
        for rest in (text.removesuffix(form), text.removeprefix(form)):
            if rest != text and _is_name(rest):
                return rest.strip(" ,"), form
    return None


def _split_last_words(text: str) -> tuple[str, str] | None:
    words = list(re.finditer(r"[^\s,]+", text))
    for first in words[max(1, len(words) - _LONGEST) :]:
        rest = text[: first.start()].rstrip(" ,-\u2013\u2014")
        form = _form(text[first.start() :].rstrip(" ,"), text)
        if form is not None and _is_name(rest):
            return _without_article(rest), form
    return None


def _without_article(name: str) -> str:
    # "The Boeing Company" and "Boeing Company (The)" are both Boeing.
    bare = re.sub(r"^the ", "", name, flags=re.IGNORECASE)
    return bare if _is_name(bare) else name


def _is_name(rest: str) -> bool:
    last_word = rest.rpartition(" ")[2].lower()
    return last_word not in _BINDS and any(char.isalnum() for char in rest)


def _form(tail: str, whole: str) -> str | None:
    key = _key(tail)
    if key in _BY_WORD:
        return _BY_WORD[key]
    canonical = _BY_ACRONYM.get(key)
    if canonical is None:
        return None
    if re.fullmatch(r"(?:\w\. ?)+\w?", tail):
        return _WITH_DOTS.get(key, canonical)
    bare = tail.replace(".", "")
    as_usual = bare in (canonical.replace(".", ""), bare.upper()) and " " not in bare
    return canonical if as_usual or (whole.islower() and bare not in _ENGLISH) else None


def _key(form: str) -> str:
    plain = unicodedata.normalize("NFD", form.casefold())
    return "".join(c for c in plain if c not in " ,." and unicodedata.category(c) != "Mn")


_BY_WORD = {_key(form): form for form in _WORDS.split("|")}
_BY_ACRONYM = {_key(form): form for form in _ACRONYMS.split("|")}
