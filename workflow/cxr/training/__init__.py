"""What every training shares: loop, batches, device, saved state, weights."""
