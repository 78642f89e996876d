"""The paper's tables, measured: rows as plain numbers, then text, Markdown and one HTML page."""
