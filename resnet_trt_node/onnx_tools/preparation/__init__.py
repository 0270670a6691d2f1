"""A float classifier from elsewhere: read, tried out, and made deployable."""
