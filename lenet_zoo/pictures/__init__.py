"""Pictures of the world as pixels for a network: reading, finding, placing. Never torch."""
