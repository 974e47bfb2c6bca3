"""What both sides of a wire agree on: messages, refusal reasons, limits and names."""
