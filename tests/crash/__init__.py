"""A lander that is killed at named points and at random moments, and what must be true after it."""
