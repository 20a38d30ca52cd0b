"""Everything around a job's work that changes no number: journal, outputs and their seals, locks, GPUs."""
