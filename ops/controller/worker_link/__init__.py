"""Between operator and worker: what they say to each other, its JSON, and the way there."""
