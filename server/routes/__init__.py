"""The routes: each reads a request, hands it to the work, and sends the reply. No logic of their own."""
