"""The chat in a terminal, and with a pipe as its input; built on `skyeim_ws.client`."""
