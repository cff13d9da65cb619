"""By this file pytest knows the folder from which tests import `enrich`."""
