"""One module for each program's pick files: what its positions count, how its angles turn, what else it holds."""
