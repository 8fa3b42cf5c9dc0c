"""The worker process: diagnoses, renders, records and replays; no right in the cluster."""
