"""Operations: each in plain torch, its choice of kernel, and what runs faster on a CPU than torch's own."""
