"""What is shown of results: tables, figures, and the page."""
