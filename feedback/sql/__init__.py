"""The log in a SQL database. Enter by `feedback.SqlStore`."""
