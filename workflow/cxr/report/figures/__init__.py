"""The report's figures; every function draws one and returns it as PNG bytes."""
