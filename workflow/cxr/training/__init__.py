"""Shared by every training: loop, batches, device, saved state, weights."""
