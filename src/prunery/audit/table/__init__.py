"""What stands in a table: its columns, cells and units."""
