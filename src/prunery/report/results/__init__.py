"""From records to the groups that tables and figures are made of."""
