"""Tasks: generated worlds x goals x language; the environment, Gymnasium, and the window.

Names are in the modules: `env.Rearrange`, `tasksets.TaskSetEnv`, `autoreset.AutoReset`, `types.Task`, `words.language.render`,
`words.parser.parse`. Nothing is imported here: `import palaestra` registers Gymnasium's ids and stays light.

At the top are a task's data and what it means, the environment, and the named sets. `generation` draws tasks, `words` says and
reads them, `display` draws them as pictures, and `editing` changes them by hand.
"""
