"""The one way out of a site: stages in a stated order, a file per stage; ``stages.py`` composes them."""
