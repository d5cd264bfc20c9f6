"""Bodies and physics: the world, and the engines that step it.

Names are in the modules: `world.World`, `world.WorldSpec`, `bodies.body`, `engine.Engine`, `native.NativeEngine`,
`camera.Camera`, `errors.PalaestraError`. Nothing is imported here: `import palaestra` stays light.
"""
