"""What is promised before anything runs: configuration, presets, blocks, and the arithmetic of FLOPs and memory."""
