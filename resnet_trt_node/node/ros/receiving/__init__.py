"""Takes serialised messages out of the middleware, on threads of its own."""
