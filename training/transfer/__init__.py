"""Task-oriented knowledge transfer: a small tower for one task, from a teacher and few labels.

Vemulapalli et al., Knowledge transfer from vision foundation models (arXiv 2311.18237): a head is
fitted on the frozen teacher's features of the labelled pictures; the small tower learns that head's
outputs on an unlabelled transfer set, retrieved from a pool with the labelled pictures as queries;
then it is fine-tuned on the labels. The baselines are the same with the teacher's features in place
of the outputs (task-agnostic), and training on the labels alone.

The pool's sidecars store what the teacher says of every augmentation, so that the outputs are a
matrix product and the teacher never runs while a tower is trained.
"""
