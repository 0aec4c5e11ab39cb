"""Apple's published layout of reinforced data: read directly, converted into sidecars."""
