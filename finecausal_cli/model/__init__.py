"""The network: tensors in, numbers out. Nothing here knows of files.

Shapes in this package use one legend: B pairs (or clips), F sampled frames (96), S snippets (9), D features
(1024 at width 1.0), T tokens of a stage (12), G stages (3), V voters, N graph nodes (36). In every pair
axis of length 2, index 0 is the query and index 1 the exemplar.
"""
