"""All code that uses Prefect: its API, the schedule, the runs, the artifact."""
