"""What the nodes of a deployment share in Redis."""
