"""What each command takes; here, so that help and completion import no runtime."""
