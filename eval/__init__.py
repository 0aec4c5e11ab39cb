"""Zero-shot classification, retrieval, latency, results and reports."""
