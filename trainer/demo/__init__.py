"""`touchstone loop --demo`: the whole loop on the bundled model, on one machine."""
