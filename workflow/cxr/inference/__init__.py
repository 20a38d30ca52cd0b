"""New images through the best models of a finished study."""
