"""Transfer learning on NIH ChestX-ray14: the functions behind the workflow's rules."""
