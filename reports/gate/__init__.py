"""What a gate found, as a table, Markdown, JUnit XML and a page; and the history of what was accepted."""
