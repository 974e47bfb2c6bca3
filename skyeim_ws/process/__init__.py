"""What runs as a process: the daemon, its workers and children, and systemd."""
