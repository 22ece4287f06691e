"""Networks trained and measured side by side."""
