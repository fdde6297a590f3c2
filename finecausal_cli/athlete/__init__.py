"""The athlete seen: a network that reads outline and joints in pictures, and the motion that holds them together."""
