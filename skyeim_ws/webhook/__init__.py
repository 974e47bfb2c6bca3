"""Tells a push service of messages for users who are away, over HTTP."""
