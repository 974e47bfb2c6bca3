"""The commands for operators: over the services' calls, and over the Redis of the gateways."""
