"""Scores of saved predictions, each beside its image-free floor, with patient-level bootstrap intervals."""
