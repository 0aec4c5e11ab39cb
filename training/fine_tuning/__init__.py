"""From a trained model to one for your own pictures.

settings.py      what is trained, and how fast: all, the last blocks, or LoRA; towers; layer decay
layers.py        the place of every parameter between the bottom and the top of its tower
prepare.py       freezes the rest, BatchNorm statistics too; the learning rate of each parameter
lora.py          low-rank adapters, and merging them into ordinary weights
interpolate.py   WiSE-FT: between the weights before and after
"""
