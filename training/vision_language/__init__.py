"""Training a vision-language model: what learns, how fast, from what."""
