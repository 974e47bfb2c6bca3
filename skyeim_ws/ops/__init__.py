"""What operators see and need: logs, metrics, child processes."""
