"""What every plug-in of a port must do, as test classes to subclass."""
