"""How the models are made: `evo bench build autodiffusion`.

Read in this order: `recipes.py`, `pictures.py`, `networks.py`, `denoiser.py`, `classifier.py`, `baselines.py`,
`settings.py`, `building.py`.
"""
