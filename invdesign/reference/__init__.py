"""Known crystals and the convex hull: what stability, novelty and disorder are judged against."""
