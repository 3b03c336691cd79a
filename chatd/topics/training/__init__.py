"""Making the model out of the corpus. Runs when somebody asks for it, never in a server.

grammar     the corpus's text format: templates and what is put into their slots
variations  how people really type: slips, chat spelling, missing words
samples     the corpus as labelled messages, in folds that keep look-alikes together
fitting     the two stages, fitted
sparse      sparse rows in numpy, for the first stage's fit
deciding    calibration and thresholds, on what was not trained on
measuring   figures with confidence intervals
costing     what labelling costs in time and memory
run         all of it in order
reporting   train, write the model and the report
"""
