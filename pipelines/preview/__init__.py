"""What a change of the models would do to what readers see, tried beside them."""
