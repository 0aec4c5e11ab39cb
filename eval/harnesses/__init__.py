"""A zoo model inside other evaluation harnesses."""
