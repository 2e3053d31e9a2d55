"""Verifiers: classifiers of programs, trained on samples whose hidden tests are known (LEVER, Condor).

Nothing here imports torch before a classifier is trained; the model of execution features never does.
"""
