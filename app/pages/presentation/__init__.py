"""Values turned into page text: tables, differences, formats and shell commands."""
