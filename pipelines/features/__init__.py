"""Features for models: of the past for training, of now for use, by one definition."""
