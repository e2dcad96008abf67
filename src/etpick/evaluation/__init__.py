"""How good picks are: matching, scores, curves and the rules of public challenges."""
