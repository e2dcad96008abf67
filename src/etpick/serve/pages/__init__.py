"""The pages of the browser interface, one module each."""
