"""A folder for the path of child processes: Python imports `sitecustomize` from it at its start."""
