"""The largest size of a picture. Its header is compared with these bounds before anything is decoded.

Radiographs are far smaller: a chest on a detector of 43 × 43 cm at 0.1 mm has 18 megapixels, a mammogram of 24 × 30 cm at
0.05 mm 29, a whole leg stitched to 43 × 130 cm at 0.1 mm 56, a film of 14 × 17 inches scanned at 600 dpi 86.
"""

MOST_PIXELS = 89_000_000  # just below Pillow's own limit, which a library may switch off for the whole process
LONGEST = 20_000  # px per side: two metres at 0.1 mm; a picture is padded to a square
MOST_BYTES = 400_000_000  # of a file, and of its samples: four bytes for each of those pixels, and a header


def objection(width: int, height: int, bits: int) -> tuple[str, str] | None:
    """Return the reason and detail if a picture is too large, else None.

    bits: per pixel, all samples together, as held in memory after decoding.
    """
    size = f"{width}x{height}"
    if max(width, height) > LONGEST:
        return f"longer than {LONGEST:,} px", f"{size}; crop it to the part that you need"
    if width * height > MOST_PIXELS:
        return (
            f"more than {MOST_PIXELS / 1e6:.0f} megapixels",
            f"{size}; shrink it, or crop it to the part that you need",
        )
    if width * height * bits > 8 * MOST_BYTES:
        told = f"{size}, {bits} bits a pixel; store it with 8 or 16 bits of grey"
        return f"larger than {MOST_BYTES / 1e6:.0f} MB when decoded", told
    return None
