"""NODE. Clips received from a PACS, analyzed, and their results sent back; jobs in a database."""
