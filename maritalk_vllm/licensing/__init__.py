"""Check licences and what they allow."""
