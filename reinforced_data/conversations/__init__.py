"""Pictures with conversations about them: LLaVA files and shards."""
