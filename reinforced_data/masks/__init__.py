"""Instance masks of shards, and what a SAM teacher makes of prompts on them, stored once."""
