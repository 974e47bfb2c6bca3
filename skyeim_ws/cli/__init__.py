"""What a person types: arguments, exit codes and output; no logic of the gateway."""
