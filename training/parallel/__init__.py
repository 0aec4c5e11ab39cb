"""Several processes train one model: torchrun, DDP, FSDP2."""
