"""How large a picture may be. What its header says is compared with this before anything is decoded.

Radiographs stay far below: a chest on a detector of 43 × 43 cm at 0.1 mm has 18 megapixels, a mammogram of 24 × 30 cm at
0.05 mm 29, a whole leg stitched to 43 × 130 cm at 0.1 mm 56, a film of 14 × 17 inches scanned at 600 dpi 86.
"""

MOST_PIXELS = 89_000_000  # Pillow's own limit, which a library may switch off for the whole process, lies just above
LONGEST = 20_000  # px of a side: two metres at 0.1 mm; a picture is padded to a square of it
MOST_BYTES = 400_000_000  # of a file, and of the samples it holds: four bytes for each of those pixels, and a header


def objection(width: int, height: int, bits: int) -> tuple[str, str] | None:
    """Say why a picture is too large, as reason and detail; None where it is not.

    bits: of a pixel, all its samples together, as they lie in memory when decoded.
    """
    size = f"{width}x{height}"
    if max(width, height) > LONGEST:
        return f"longer than {LONGEST:,} px", f"{size}; cut out the part that is meant"
    if width * height > MOST_PIXELS:
        return f"more than {MOST_PIXELS / 1e6:.0f} megapixels", f"{size}; shrink it, or cut out the part that is meant"
    if width * height * bits > 8 * MOST_BYTES:
        told = f"{size}, {bits} bits a pixel; store it with 8 or 16 bits of grey"
        return f"larger than {MOST_BYTES / 1e6:.0f} MB when decoded", told
    return None
