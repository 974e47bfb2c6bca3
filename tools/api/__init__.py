"""Describes the wire for machines: AsyncAPI for the frames, OpenAPI for HTTP; see `make api`."""
