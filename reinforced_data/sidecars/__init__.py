"""The reinforcement sidecar: its tensors, metadata and number formats."""
