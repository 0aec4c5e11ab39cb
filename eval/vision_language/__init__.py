"""Benchmarks of vision-language models on local files."""
