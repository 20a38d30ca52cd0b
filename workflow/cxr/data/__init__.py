"""The release's tables, boxes and images, read, checked, stored and split."""
