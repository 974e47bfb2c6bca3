"""The live connections: what a client is, who is connected, how frames reach them."""
