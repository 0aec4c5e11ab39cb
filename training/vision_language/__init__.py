"""Visual instruction tuning: a language model learns to talk about pictures (arXiv 2304.08485).

settings.py      what is trained of a vision-language model, how fast, on what views of pictures
task.py          the loss: -log P of the answers' tokens, of the whole batch, frugal with logits
start.py         the model to begin with: weights, or a language model and a tower from elsewhere
prepare.py       freezes the rest, BatchNorm statistics too; LoRA; the learning rate of each part
run.py           from a recipe to the model and the conversations that the loop trains with
"""
