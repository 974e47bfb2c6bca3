"""Where services are, and how others find ours: etcd and names."""
