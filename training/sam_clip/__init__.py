"""SAM-CLIP's merging: one tower learns from a CLIP and from a SAM at once (arXiv 2310.15308).

settings.py      what is trained, from which two teachers' sidecars, at which sizes
losses.py        the distance to stored embeddings, and SAM's mask losses against soft masks
answers.py       the masks that the student gives to stored prompts, and what each is held against
task.py          both losses of a step on its two streams, one gradient
two_streams.py   batches of pictures and batches of prompts, dealt out in pairs
prepare.py       freezes the rest; weights that move slower
run.py           from a recipe to the model and the streams that the loop trains with
"""
