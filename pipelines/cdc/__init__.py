"""Change data capture: change events in, typed and masked raw Delta tables out."""
