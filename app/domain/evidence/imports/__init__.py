"""Reading what evaluation tools write: pure parsers to a report and rows of samples."""
