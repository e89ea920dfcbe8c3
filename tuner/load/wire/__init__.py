"""What goes over a connection: HTTP/1.1, server-sent events, gRPC on HTTP/2, each in the clear or over TLS."""
