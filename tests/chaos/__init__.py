"""Conservation of messages under fire: everything dies at some time, and nothing is lost."""
