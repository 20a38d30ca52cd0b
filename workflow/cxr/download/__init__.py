"""Download of the release from its public addresses into a data folder."""
