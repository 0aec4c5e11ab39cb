"""Recipes: a training run is a function that returns its whole configuration.

A variant calls another recipe and changes a few fields. `zoo train RECIPE --field value` changes
any field from the command line.
"""
