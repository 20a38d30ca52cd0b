"""What a run does around its jobs: which of them are due, one run at a time, nothing left behind."""
