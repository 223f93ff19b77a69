"""DNA for Sartor: a modality, a task, a backbone, a step and a runtime in a package of their own.

Sartor finds them by the entry points in `pyproject.toml`; nothing here is imported until one is asked for by name.
"""
