"""What a passage says, followed through the layers: which probes, their runs, what they find."""
