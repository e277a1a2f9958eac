"""What our own searches found: each file as `evo export` wrote it, with how it was chosen; a proxy of its name.

load_proxy("NAME"), `evo allocate emq --proxy NAME`, or copy the file: it needs torch alone.
"""
