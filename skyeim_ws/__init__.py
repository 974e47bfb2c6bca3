"""SkyeIM's WebSocket gateway: the real-time core of the instant-messaging backend."""

__version__ = "0.1.0"
