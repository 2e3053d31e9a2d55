"""Alembic's migrations of the log's tables, oldest first in `versions/`. `feedback.sql.schema` runs them."""
