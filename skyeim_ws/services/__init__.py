"""The embedded Message, Friend and Group services over SQL."""
