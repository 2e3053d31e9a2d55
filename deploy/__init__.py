"""What speaks HTTP to a running server. Nothing yet: containers, manifests and dashboards are to come."""
