"""Files from elsewhere: fetched once, checked against their whole sha256."""
