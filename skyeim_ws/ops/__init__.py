"""What operators see: logs, metrics, traces, profiles; and what systemd hears."""
