"""What people look at: the report page, its charts, tables and crystal files."""
