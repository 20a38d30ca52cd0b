"""The 18-layer grid CNN (paper, section 2.3.4)."""
