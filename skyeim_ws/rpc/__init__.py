"""The business services, reached over gRPC."""
