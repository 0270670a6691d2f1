"""Topics, messages, parameters and QoS."""
