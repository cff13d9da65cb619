"""Brings name and domain to one form, so that later steps and joins can rely on it."""

from workers.company_names import canonical_domain, split_legal_form
from workers.kit import Company, StepResult, step


class Normalized(StepResult, table=True):
    """The registrable domain, and the name without its legal form."""

    __tablename__ = "normalized"

    domain: str | None = None
    short_name: str | None = None
    legal_form: str | None = None


@step(timeout_s=5, chunk_size=200)
def normalize(company: Company) -> Normalized:
    """Canonical domain and legal form, offline."""
    short_name, legal_form = split_legal_form(company.name) if company.name else (None, None)
    return Normalized(
        domain=canonical_domain(company.domain), short_name=short_name, legal_form=legal_form
    )
