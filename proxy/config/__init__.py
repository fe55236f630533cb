"""One YAML, read into the frozen Settings of each room; every error at once, each with its path and line.

The way of a file: ``load`` -> ``compose`` (text -> document, which knows its lines) -> ``environment`` (``${NAME}``) ->
``schema`` (the one description of every key, made of ``value`` and ``shape``) -> ``crosscheck`` (what no key can see
alone) and ``build`` (-> Settings). The JSON Schema comes from the same description. ``check`` is the verb.
"""
