"""Training, promotion and inference: what happens between published marts and prediction marts."""
