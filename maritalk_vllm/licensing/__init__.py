"""What a licence key allows."""
