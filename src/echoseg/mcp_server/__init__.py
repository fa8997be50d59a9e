"""MCP. Clips and results for assistants over the Model Context Protocol, within named folders."""
