"""What runs around Touchstone: a CronJob for rounds. Containers, dashboards and the rest are to come."""
