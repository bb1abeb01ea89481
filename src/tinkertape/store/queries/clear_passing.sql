-- clear_passing: nothing passes any more; its memory is given back.
TRUNCATE TABLE IF EXISTS passing
