"""Tasks: generated worlds x goals x language; the environment, Gymnasium, and the window.

Names are in the modules: `env.Rearrange`, `tasksets.TaskSetEnv`, `autoreset.AutoReset`, `types.Task`, `language.render`,
`parser.parse`. Nothing is imported here: `import palaestra` registers Gymnasium's ids and stays light.
"""
