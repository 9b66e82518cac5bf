"""World models from Dyna-Q to Cosmos: reference implementations and the machinery of the course."""
