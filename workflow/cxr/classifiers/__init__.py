"""Classifiers of the 15 labels: baselines and transfer learning."""
