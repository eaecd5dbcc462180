"""From one run to a decision: accuracy and cost over many examples, sweeps, tuning, timing, reports."""
