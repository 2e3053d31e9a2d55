"""Who may ask for what: keys, where they are kept, and what each of them is allowed."""
