"""The control half: one writer that turns plans, measurements and wishes into the routing state every router carries."""
