"""Arrays in, arrays out. No configuration, no path."""
