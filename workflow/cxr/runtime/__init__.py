"""What runs around a job's work and changes no number: journal, outputs and their seals, locks, GPUs."""
