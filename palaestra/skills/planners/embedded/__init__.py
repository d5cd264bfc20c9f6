"""The planner inside: two small transformers. The reader turns an instruction into a goal, and the actor a goal into calls.

Neither sees a name. To both, things are sets without an order: a thing is what it is like and how it stands to others, and an argument
is a pointer to one. So what is learned of some houses holds in others, however their things are called and numbered.
"""
