"""Skills: records, learned primitives, the executor and the planners.

Names are in the modules: `record.Skill`, `library.SKILLS`, `own.load`, `training.SkillEnv`, `shipped.learned`, `executor.Executor`,
`planners.planner`. Nothing is imported here, so that a Gymnasium id costs no more than it needs.
"""
