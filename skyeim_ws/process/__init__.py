"""What runs as a process: the daemon, its sockets, workers and children."""
