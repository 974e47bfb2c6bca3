"""The HTTP edge: authentication, upgrade, pushes from the services, the sync API."""
