"""Generated images: chest X-rays (phantoms) and textures."""
