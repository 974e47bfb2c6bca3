"""The commands for operators: friends, groups and messages, over the services' calls."""
