"""What customers order, and how an order is fulfilled."""
