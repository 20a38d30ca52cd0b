"""The release brought from its public addresses into a data folder."""
