"""What a trial pays with: orders of companies that the database has."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from reconciler.contract.orders import Order
from reconciler.contract.results import Company
from reconciler.operator.connect import operator
from reconciler.operator.money.trials import Till, Wanted
from workers.kit import Step


class KnownTill(Till):
    """Makes orders for known companies alone: the ids of others are below 0."""

    def of_step(self, step: Step, company_ids: Sequence[int]) -> Mapping[int, Order]:
        """See `Till.open`."""
        wanted = Wanted(step.name, step.provider, step.terms.price, step.fresh_for_s)
        known = [i for i in company_ids if i > 0]
        return self.open(wanted, known) if known else {}


@contextmanager
def till_for(companies: Sequence[Company]) -> Iterator[KnownTill | None]:
    """A till if there is a known company; at the end, its orders without an answer are ended."""
    if not any(company.id > 0 for company in companies):
        yield None
        return
    with operator() as store:
        till = KnownTill(store)
        try:
            yield till
        finally:
            till.end()
