"""Plans as programs: calls with loops and conditions, as data. See docs/planners.md."""
