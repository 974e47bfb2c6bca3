"""The Autobahn testsuite against the connections of the gateway: `make autobahn`."""
