"""Teaches a trunk what is to be seen in dives, before it meets pairs of them.

A pair of dives says of three hundred frames only which was the better one, and a trunk trained on that learns what is
seen at a glance, the splash, long before it learns what costs points in the air. The simulator knows the motion at
every frame (``tracks``) and what the judges saw (``meta``). Here single snippets are held to that: the joint angles,
where the body is and how it is turned, which stage it is in, the foreground, and the faults of the stages that the
snippet shows. A trunk that reads single frames is asked all of this of every frame too. Then
``finecausal train --init trunk:FOLDER`` goes on as on any dataset.

What maps features to these targets is thrown away: the result is an ordinary network whose trunk and foreground know
dives and whose other modules know nothing.

Shapes are those of ``finecausal_cli.model``, and: M values of motion a frame, K things that judges see.
"""
