"""Scores of saved predictions, each beside its image-free floor, with intervals by patient."""
