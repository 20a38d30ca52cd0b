"""Image files of each format as grey pixels, within bounds."""
