"""Many records: gathered, filtered, grouped, their means with intervals, compared run by run."""
