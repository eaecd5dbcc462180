"""Models: loading, attention backends, prompts, families, fused layer steps."""
