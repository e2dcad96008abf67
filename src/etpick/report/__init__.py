"""Pictures of picks, and a self-contained HTML report of them."""
