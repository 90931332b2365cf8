"""Messages for users in English and Portuguese: created with a template and values, rendered where they are printed."""
