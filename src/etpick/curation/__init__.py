"""From picks to better labels: which picks to look at, what somebody said of them, and labels that heed it."""
