"""Values as page text: tables, differences, formats and shell commands."""
