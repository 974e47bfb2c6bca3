"""The configuration: a YAML file becomes a frozen typed tree."""
