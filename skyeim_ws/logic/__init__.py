"""What each message of a client means."""
