"""The conductor: reads rows, decides, dispatches, and never sees a company's data."""
