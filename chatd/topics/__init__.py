"""Topic labels: a learned classifier on the shop's own machine that is right or silent.

    names       the ten topics, the languages, what a finding is
    text        from a message to hashed n-grams
    languages   which language a message is in
    model       the model file and the first stage: a linear model over n-grams
    encoder     the second stage's sentence encoder
    labeller    both stages, calibrated and held against a threshold
    worker      the labeller in a process of its own
    training    corpus, fitting, calibration, measuring; never imported by a server

Only `names` and `worker` may be imported by a server: the others import numpy, which an idle server does without.
`docs/topics.md` tells definitions, method, figures and limits.
"""
