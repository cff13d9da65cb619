"""All that knows Prefect: its API, the schedule, the runs, the artifact."""
