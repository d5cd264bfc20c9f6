"""What tasks are drawn from: floor plans, scenes, doors, goals, chains and rules, all `key -> arrays`; and their checks and edits."""
