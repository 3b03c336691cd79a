"""The command line. `chatd --help` tells what there is; every command's help ends with examples.

    common      what commands share: settings, the store, refusals in plain words
    running     serve, demo, migrate
    backup      backup
    shops       shop add, list, show, set
    staff       staff add, list, password, remove
    outbox      outbox list, retry, drop
    doctor      doctor; what it looks at is in checks
    settings    config
    topics      topics label, export, train
    logs        how the programs log

A command does its work through the same functions as the web does. It prints what a person needs next and nothing else;
what went wrong goes to standard error with exit code 1.
"""
