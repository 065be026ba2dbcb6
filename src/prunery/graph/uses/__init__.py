"""How often a call uses each element of each weight: one multiply-accumulate (MAC) per use."""
